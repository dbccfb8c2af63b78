package config

import (
	"io/fs"
	"time"
)

// Log bounds the request log.
type Log struct {
	Enabled     bool          // default true
	Directory   string        // "" for one below the daemon's state directory
	MaxSize     int64         // all its files together, default 1GiB
	MaxAge      time.Duration // of records, default 30d
	SegmentSize int64         // of one file, at most a quarter of MaxSize, default 64MiB
	SegmentAge  time.Duration // of one file, default 1d
	Buffer      int64         // memory for records that are not written yet, default 8MiB
	Query       bool          // keep the query of targets; default false
}

// Admin says where the admin API is and who may use it. Root and the daemon's own
// user may do everything.
type Admin struct {
	Address string      // path of its unix socket, AdminNone, or "" for the default
	Mode    fs.FileMode // permission bits of the socket, default 0660
	Read    []string    // callers who may look; nil for nobody
	Operate []string    // callers who may change things as well
}

// AdminNone in Admin.Address turns the admin API off.
const AdminNone = "none"

// Metrics says where metrics are served apart from the admin socket.
type Metrics struct {
	Addresses []Address // loopback TCP; nil for nowhere
	TokenFile string    // holds the bearer token that opens them; "" for none
	Callers   []string  // who needs no token; nil for nobody
}

// Reload says when the daemon reloads by itself.
type Reload struct {
	Watch bool          // when a file of the configuration changes; default false
	Poll  time.Duration // how often files are looked at without being told that they changed; default 1m
}
