package admin

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// param is a parameter in the query of a URL. None is required.
type param struct {
	name string
	form form
	doc  string
}

// form is what a parameter's value looks like.
type form int

const (
	text     form = iota
	count         // 0, 1, 2, …
	limit         // the same, or -1
	flag          // true or false; the bare name is true
	moment        // RFC 3339
	duration      // as Go writes it: 1.5s
	order         // newest or oldest
)

// wants says what a form takes.
func (f form) wants() string {
	return map[form]string{
		count: "a number such as 100", limit: "a number such as 100, or -1 for all", flag: "true or false",
		moment: "a time such as 2006-01-02T15:04:05Z", duration: "a time span such as 250ms or 1.5s", order: "newest or oldest",
	}[f]
}

func (f form) fits(s string) bool {
	var err error
	switch f {
	case count:
		_, err = strconv.ParseUint(s, 10, 31)
	case limit:
		if s != "-1" {
			_, err = strconv.ParseUint(s, 10, 31)
		}
	case flag:
		return s == "" || s == "true" || s == "false"
	case moment:
		_, err = time.Parse(time.RFC3339, s)
	case duration:
		d, bad := time.ParseDuration(s)
		return bad == nil && d >= 0
	case order:
		return s == "newest" || s == "oldest"
	case text:
	}
	return err == nil
}

// parameters reads a query, and refuses what is not in known.
func parameters(raw string, known []param) (url.Values, *api.Error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("the query makes no sense: %v", err)
	}
	for name, values := range query {
		i := slices.IndexFunc(known, func(p param) bool { return p.name == name })
		switch {
		case i < 0:
			return nil, unknownParameter(name, known)
		case len(values) > 1:
			return nil, badRequest("parameter %q is given %d times", name, len(values))
		case !known[i].form.fits(values[0]):
			return nil, badRequest("parameter %q: want %s, got %q", name, known[i].form.wants(), values[0])
		}
	}
	return query, nil
}

func unknownParameter(name string, known []param) *api.Error {
	e := badRequest("there is no parameter %q", name)
	e.Hint = "there are none here"
	if len(known) > 0 {
		var names []string
		for _, p := range known {
			names = append(names, p.name)
		}
		e.Hint = "there are " + strings.Join(names, ", ")
	}
	return e
}

// number returns a parameter of the form count.
func (c *call) number(name string, otherwise int) int {
	n, err := strconv.Atoi(c.query.Get(name))
	if err != nil { // it is not there: its form has been checked
		return otherwise
	}
	return n
}

// flag returns a parameter of that form.
func (c *call) flag(name string) bool {
	return c.query.Has(name) && c.query.Get(name) != "false"
}
