package main

// breakerCmd steers breakers.
type breakerCmd struct {
	Reset breakerResetCmd `cmd:"" help:"Forget that endpoints failed, and try them again at once."`
}

// breakerResetCmd closes breakers.
type breakerResetCmd struct {
	target
}

// Run resets.
func (c *breakerResetCmd) Run(x *control) error { return c.order(x, x.client.ResetBreaker) }
