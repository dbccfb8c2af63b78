package service

import (
	"path/filepath"

	"github.com/mtlsproxy/mtlsproxy/journal"
	"github.com/mtlsproxy/mtlsproxy/service/config"
)

// record gives w its request log: that of old if it is in the same place, with the
// bounds that w wants, or a new one. Trouble with the disk is the log's to report.
func (s *Service) record(w, old *world) {
	c := &w.config.Log
	if !c.Enabled {
		return
	}
	dir := c.Directory
	if dir == "" {
		state := s.stateDirectory()
		if state == "" {
			w.unlogged = "no place for the request log: neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set; set [log] directory"
			s.Log.Warn("there is no request log; set [log] directory", "error", "neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set")
			return
		}
		dir = filepath.Join(state, "log")
	}
	if old.records != nil && old.records.directory == dir {
		w.records = old.records
		w.records.Resize(journalLimits(c))
	} else {
		l := journalLimits(c)
		w.records = &records{directory: dir, Log: journal.Open(journal.Options{
			Directory: dir, SegmentSize: l.SegmentSize, SegmentAge: l.SegmentAge, MaxSize: l.MaxSize, MaxAge: l.MaxAge,
			Buffer: c.Buffer, Log: s.Log,
		})}
	}
	w.table.Records = w.records
}

func journalLimits(c *config.Log) journal.Limits {
	return journal.Limits{SegmentSize: c.SegmentSize, SegmentAge: c.SegmentAge, MaxSize: c.MaxSize, MaxAge: c.MaxAge}
}

// close writes what is left, within bounds.
func (r *records) close() { _ = r.Close() } // it has logged what it could not write
