package main

import "strings"

// callers lets one of two users use the route: as its user, then as a member of its
// group. Both may open the sockets.
func callers(t *trial) {
	t.site()
	t.sh("groupadd billing; useradd --groups mtlsproxy,billing app; useradd --groups mtlsproxy stranger")
	for _, rule := range []string{"user:app", "group:billing"} {
		t.write(siteConfig, strings.Replace(siteTables, `"any"`, `"`+rule+`"`, 1))
		t.must("systemctl", "reload", service)
		for user, want := range map[string]int{"app": 200, "stranger": 403} {
			for _, flags := range [][]string{nil, {"--unix-socket", unixPath}} {
				r := t.as(user, "curl", append([]string{"--silent", "--include", "--max-time", "10", "--write-out", `\n%{http_code}`, "http://" + tcpAddress + "/"}, flags...)...)
				status, answer := split(r.Stdout)
				if status != want || want == 403 && !strings.Contains(answer, "Mtlsproxy-Error: caller_denied") {
					t.errorf("callers = %q: %s, with %q, got %d, want %d: %s", rule, user, flags, status, want, answer)
				}
			}
		}
	}

	// The journal says who: once, since all four were within a minute.
	uid := t.must("id", "--user", "stranger")
	told := t.entries("_COMM=mtlsproxyd", "MTLS_UID="+uid, "MTLS_USER=stranger", "MTLS_ROUTE=echo", "MTLS_LISTENER=http")
	if len(told) != 1 {
		t.errorf("%d events tell that uid %s was denied the route, want 1", len(told), uid)
	}
	for _, e := range told {
		if e.ID == "" || e.Priority != "4" {
			t.errorf("the event has MESSAGE_ID %q and priority %s: %s", e.ID, e.Priority, e.text())
		}
	}
	if uid := t.must("id", "--user", "app"); len(t.entries("_COMM=mtlsproxyd", "MTLS_UID="+uid)) > 0 {
		t.errorf("an event tells of uid %s, who may use the route", uid)
	}
	log := t.must("mtlsproxyctl", "log", "query", "--class", "caller_denied", "--json")
	if n := strings.Count(log, `"caller":`+uid); n != 4 {
		t.errorf("the request log has %d denials of uid %s, want 4: %s", n, uid, log)
	}

	// A name that nobody has lets nobody in, and is told of.
	t.write(siteConfig, strings.Replace(siteTables, `"any"`, `"user:nobody-of-that-name"`, 1))
	t.must("systemctl", "reload", service)
	if status, _ := t.get("/"); status != 403 {
		t.errorf("with a name that nobody has: got %d, want 403", status)
	}
	t.says("the journal", t.messages(false), "nobody-of-that-name")
	t.says("mtlsproxyctl limits", t.must("mtlsproxyctl", "limits"), "limits.connections")
}
