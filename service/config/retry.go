package config

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// The keys of a route's retry that need more than a number.

// retryAttempts is shown only if it is set: the upstream has the default.
func retryAttempts(p *int) value {
	v := integer(p, 1, 10)
	show := v.show
	v.show = func() string {
		if *p == 0 {
			return ""
		}
		return show()
	}
	return v
}

// parseIdempotent takes the methods that may be repeated, RFC 9110 9.2.2. No key makes
// others so.
func parseIdempotent(s string) (string, *fault) {
	if _, bad := parseMethod(s); bad != nil {
		return "", bad
	}
	known := []string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete}
	if !slices.Contains(known, s) {
		return "", wrong("is not idempotent, and never sent again once it may have been seen", oneOf(known))
	}
	return s, nil
}

const statusForms = "a list of numbers: 429, and 500 to 599"

// statuses is a list of statuses that promise that another try may do better.
func statuses(p *[]int) value {
	set := func(t *table, key string, n *node) {
		items := []*node{n}
		if n.kind == kindList {
			items = n.items
		}
		all := make([]int, 0, len(items))
		for _, item := range items {
			v, err := strconv.Atoi(item.text)
			switch {
			case item.kind != kindInteger:
				t.fail(key, item, wrong("wrong type", statusForms))
			case err != nil || v != http.StatusTooManyRequests && (v < 500 || v > 599):
				t.fail(key, item, wrong("not a status after which another try makes sense", statusForms))
			case slices.Contains(all, v):
				t.fail(key, item, wrong("is in the list twice", ""))
			default:
				all = append(all, v)
			}
		}
		if len(items) == 0 {
			t.report(key, n.at, "is empty; name at least one")
			return
		}
		*p = all
	}
	return value{typ: "list of statuses", limits: "429, 500 to 599", set: set, show: func() string {
		if *p == nil {
			return ""
		}
		texts := make([]string, len(*p))
		for i, v := range *p {
			texts[i] = strconv.Itoa(v)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	}}
}
