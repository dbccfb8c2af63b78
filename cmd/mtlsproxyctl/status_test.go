package main

import (
	"net/http"
	"strings"
	"testing"
)

func TestStatusShowsSettingsThatAreNotInUse(t *testing.T) {
	d := newDaemon(t)
	s := cannedStatus()
	s.Notes = []string{"address 127.0.0.1:9999 of listener http is not used: \x1b[31m"}
	d.says("GET /v1/status", asJSON(http.StatusOK, s))
	r := host{socket: d.socket}.execute(t, "status")
	if r.code != 0 || !strings.Contains(r.stdout, "\n\nNot in use\n  address 127.0.0.1:9999 of listener http is not used: \\x1b[31m\n\nListeners\n") {
		t.Errorf("%+v", r)
	}
}
