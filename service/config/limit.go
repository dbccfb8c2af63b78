package config

import (
	"strconv"
	"strings"
	"time"
)

// The keys of a route's limit that need more than a number.

const rateForms = `a number of requests in a second, minute or hour, such as "200/s", "10/m" or "1000/h"`

// rate is how often something may come. "0/s" is no bound, as is a missing key.
func rate(p *Rate) value {
	parse := func(n *node) (Rate, *fault) {
		count, unit, _ := strings.Cut(n.text, "/")
		requests, err := strconv.ParseUint(count, 10, 31)
		per := map[string]time.Duration{"s": time.Second, "m": minute, "h": hour}[unit]
		switch {
		case err != nil || count[0] == '+' || per == 0:
			return Rate{}, wrong("not a rate", rateForms)
		case requests > maxCount:
			return Rate{}, wrong("out of range", "up to "+strconv.Itoa(maxCount)+" requests")
		case requests == 0:
			return Rate{}, nil
		}
		return Rate{Requests: int(requests), Per: per}, nil
	}
	return value{typ: "rate", limits: `"N/s", "N/m" or "N/h"`, set: store(p, wantString(parse)), show: func() string {
		if p.Requests == 0 {
			return ""
		}
		return quote(p.String())
	}}
}

// String returns the rate as it is written in the configuration.
func (r Rate) String() string {
	unit := map[time.Duration]string{time.Second: "s", minute: "m", hour: "h"}[r.Per]
	return strconv.Itoa(r.Requests) + "/" + unit
}

// burst is shown only beside a rate: without one it is nothing.
func burst(l *RouteLimit) value {
	v := integer(&l.Burst, 1, maxCount)
	show := v.show
	v.show = func() string {
		if l.Burst == 0 {
			return ""
		}
		return show()
	}
	return v
}

const perForms = `"route", "caller", "listener" or "header:NAME"`

func per(p *string) value {
	v := scalar(p, "string", func(s string) (string, *fault) {
		name, header := strings.CutPrefix(s, PerHeader)
		switch {
		case s == PerRoute || s == PerCaller || s == PerListener:
			return s, nil
		case header && isToken(name):
			return s, nil
		}
		return "", wrong("unknown value", perForms)
	})
	v.limits = perForms
	return v
}

// defaultQueueTimeout is how long an exchange waits in a route's queue unless it is told.
const defaultQueueTimeout = time.Second

// checkRouteLimit reports keys that say how a bound is to work which is not there, and
// gives the burst its default. What only repeats a default is left alone.
func checkRouteLimit(r bound[Route]) {
	l := &r.v.Limit
	idle := func(key string, is bool, why string) {
		if is && !r.bad[key] {
			r.report(key, r.at(key), why)
		}
	}
	if l.Rate.Requests == 0 && !r.bad["limit.rate"] {
		idle("limit.burst", l.Burst != 0, "is about limit.rate, and there is none")
		idle("limit.per", l.Per != PerRoute, "is about limit.rate, and there is none")
	}
	if l.InFlight == 0 && l.PerCaller == 0 && !r.bad["limit.in_flight"] && !r.bad["limit.per_caller"] {
		idle("limit.queue", l.Queue != 0, "is for limit.in_flight and limit.per_caller, and there is neither")
	}
	if l.Queue == 0 && !r.bad["limit.queue"] {
		idle("limit.queue_timeout", l.QueueTimeout != defaultQueueTimeout, "is about limit.queue, and there is none")
	}
	if l.Rate.Requests > 0 && l.Burst == 0 {
		l.Burst = max(1, int(int64(l.Rate.Requests)*int64(time.Second)/int64(l.Rate.Per)))
	}
}
