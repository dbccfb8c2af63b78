package config

// field is one key of a table: how it is read, checked, shown and documented.
// Tables of fields are bound to the struct they fill, the way the flag package
// binds flags to variables.
type field struct {
	name     string // path in the table: "timeout.connect"
	def      string // default as TOML text; "" for none
	required bool
	unless   string // a key that stands in the place of a required one
	value    value
	doc      string // one line: meaning and unit
}

// value reads one kind of value into a variable and shows it again.
type value struct {
	typ    string // "duration"
	limits string // "1ms to 5m"; "" for no limits worth telling

	// set stores what the node holds, or reports to the table why it cannot.
	set func(t *table, key string, n *node)

	// show returns what is in effect as TOML text, or "" for nothing.
	show func() string

	// entries replaces show for a value that is a table of free keys.
	entries func() []entry
}

// entry is one free key and its value as TOML text.
type entry struct{ name, key, text string }

// Key describes one configuration key, for documentation and its tests.
type Key struct {
	Name     string // "upstream.NAME.timeout.connect", "route.NAME.host", "limits.header_bytes"
	Type     string // "duration", "size", "path", "list of strings", …
	Limits   string // allowed values or range as text, "" if the type says it all
	Default  string // TOML text, "" for none
	Unless   string // the key of the table that may stand in the place of a required one; "" for none
	Required bool   // unless another key stands in its place
	Doc      string // one line: meaning and unit
}

// Keys returns every key that a configuration may hold, in the order of the
// reference.
func Keys() []Key {
	_, listener := newListener("")
	_, identity := newIdentity("")
	_, upstream := newUpstream("")
	_, route := newRoute("")
	tables := []struct {
		name   string
		fields []field
	}{
		{"listener.NAME", listener},
		{"identity.NAME", identity},
		{"upstream.NAME", upstream},
		{"route.NAME", route},
		{"limits", limitsFields(new(Limits))},
		{"drain", drainFields(new(Drain))},
		{"log", logFields(new(Log))},
		{"admin", adminFields(new(Admin))},
		{"metrics", metricsFields(new(Metrics))},
		{"reload", reloadFields(new(Reload))},
	}
	var keys []Key
	for _, t := range tables {
		for _, f := range t.fields {
			keys = append(keys, Key{
				Name: t.name + "." + f.name, Type: f.value.typ, Limits: f.value.limits,
				Default: f.def, Required: f.required, Unless: f.unless, Doc: f.doc,
			})
		}
	}
	return keys
}
