// Package config turns configuration files, environment variables and command
// line flags into one checked, immutable [Config].
//
// [Load] reads the layers in this order; a later layer wins, key by key:
//
//	built-in defaults
//	the main file                    /etc/mtlsproxy/mtlsproxy.toml
//	its drop-ins, in name order      /etc/mtlsproxy/mtlsproxy.d/*.toml
//	environment variables            MTLSPROXY__UPSTREAM__BILLING__TIMEOUT__CONNECT=5s
//	one-upstream flags               --listen --upstream --cert --key --ca --server-name
//	--set                            --set upstream.billing.timeout.connect=5s
//
// Tables merge, lists are replaced as a whole. A [[route]] of a later file
// merges over the route of the same name in an earlier one; a new name is added
// behind the others. The environment and --set name a route as route.NAME.key.
//
// Everything that is wrong is reported at once, as [Errors], each problem with
// the file and line (or variable, or flag) it came from. Only when a file cannot
// be read or is not TOML are the other checks left out, since what they would
// say could be wrong. Unknown keys are errors: no key is ever
// accepted and ignored.
//
// One table of keys (see [Keys]) drives decoding, defaults, the search for
// unknown keys and the listing of effective values ([Config.Settings]), so that
// they cannot disagree.
//
// What this package does not do: it opens no file but the named configuration
// files, reads no certificates, resolves no names, and does not ask whether an
// address can be bound. It starts no goroutines and keeps no state between
// calls. A Config is shared by many goroutines and must not be modified.
package config
