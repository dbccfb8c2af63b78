package service

import (
	"github.com/mtlsproxy/mtlsproxy/service/config"
	"github.com/mtlsproxy/mtlsproxy/service/watch"
)

// watchConfig begins or ends watching the files of the configuration, as w says.
func (s *Service) watchConfig(w *world) {
	wanted := w.config.Reload.Watch && s.File != "" && s.Load != nil
	switch {
	case wanted && s.watcher.Load() == nil:
		s.watcher.Store(watch.New(watch.Options{
			Files:   []string{s.File},
			Dirs:    []watch.Dir{{Path: config.DropInDir(s.File), Suffix: ".toml"}},
			Poll:    w.config.Reload.Poll,
			Log:     s.Log,
			Changed: func([]string) { s.trigger("watch") },
		}))
		// What changed before it began to watch, it does not tell.
		if c, err := s.load(); err != nil || c.Digest() != w.config.Digest() {
			s.trigger("watch")
		}
	case !wanted:
		s.stopWatching()
	}
}

func (s *Service) stopWatching() {
	if w := s.watcher.Swap(nil); w != nil {
		w.Close()
	}
}
