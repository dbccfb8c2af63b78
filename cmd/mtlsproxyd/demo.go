package main

// demoCmd shows the daemon at work.
type demoCmd struct {
	Once bool `help:"Send the requests, report, and exit with 0 or 1."`
}

// Run runs the demonstration.
func (demoCmd) Run(world) error { return errFailed }
