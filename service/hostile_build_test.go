package service_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// requestOf turns a section of a request file into a case.
func requestOf(s *hostileSection) (r hostileRequest, err error) {
	r = hostileRequest{Name: s.name, Source: s.source, Comment: s.comment, Writes: s.client}
	if s.upstream != nil {
		return r, errors.New("bytes of an upstream in a request case")
	}
	end, endErr := s.takeOne("end", "", "half-close")
	r.HalfClose = end != ""
	partial, partialErr := s.takeOne("partial", "no", "yes", "no")
	r.Partial = partial == "yes"
	methods, methodsErr := s.takeOne("methods", "")
	r.Methods = strings.Fields(methods)
	var bodiesErr, upstreamErr, clientErr error
	r.UpstreamBodies, bodiesErr = s.takeBytes("upstream-body")
	r.Upstream, upstreamErr = s.takeJudge("upstream")
	r.Client, clientErr = s.takeJudge("client")
	err = errors.Join(endErr, partialErr, methodsErr, bodiesErr, upstreamErr, clientErr,
		r.expect(s), r.count(s), r.class(s), s.finish())
	if err == nil && r.After == "keep" && r.HalfClose {
		err = errors.New("a half-closed connection cannot be kept")
	}
	return r, err
}

// expect reads the statuses and what becomes of the connection.
func (r *hostileRequest) expect(s *hostileSection) error {
	expect, err := s.takeOne("expect", "")
	if err != nil {
		return err
	}
	words := strings.Fields(expect)
	if len(words) == 0 {
		return errors.New("expect is missing")
	}
	r.After = words[len(words)-1]
	if !slices.Contains([]string{"close", "keep", "any"}, r.After) {
		return fmt.Errorf("expect ends in %q, not in close, keep or any", r.After)
	}
	r.Statuses, err = parseStatuses(words[:len(words)-1])
	return err
}

// count reads how many requests the upstream receives: a number or a range, by default one for each certain 200.
func (r *hostileRequest) count(s *hostileSection) error {
	certain := 0
	for _, status := range r.Statuses {
		if len(status.AnyOf) == 1 && status.AnyOf[0] == 200 && !status.Optional {
			certain++
		}
	}
	value, err := s.takeOne("upstream", strconv.Itoa(certain))
	if err != nil {
		return err
	}
	low, high, isRange := strings.Cut(value, "-")
	if !isRange {
		high = low
	}
	var lowErr, highErr error
	r.MinUpstream, lowErr = strconv.Atoi(low)
	r.MaxUpstream, highErr = strconv.Atoi(high)
	return errors.Join(lowErr, highErr)
}

// class reads the error class of the last response, which for most statuses goes without saying.
func (r *hostileRequest) class(s *hostileSection) error {
	fallback := ""
	if len(r.Statuses) > 0 {
		last := r.Statuses[len(r.Statuses)-1]
		other := func(code int) bool { return !slices.Contains([]int{400, 417, 501, 505}, code) }
		if !last.Optional && !slices.ContainsFunc(last.AnyOf, other) {
			fallback = "bad_request"
		}
	}
	var err error
	r.Error, err = s.takeOne("error", fallback)
	return err
}

// responseOf turns a section of a response file into a case.
func responseOf(s *hostileSection) (r hostileResponse, err error) {
	r = hostileResponse{Name: s.name, Source: s.source, Comment: s.comment, Writes: s.upstream}
	var endErr, clientErr error
	r.End, endErr = s.takeOne("end", "keep", "keep", "close_notify", "tcp-close", "rst")
	r.Client, clientErr = s.takeJudge("client")
	err = errors.Join(endErr, clientErr, r.request(s), r.outcomes(s), r.body(s))
	if err != nil {
		return r, err
	}
	reuse := "no"
	if r.Outcomes[0].Kind == hostilePassed && r.End == "keep" {
		reuse = "yes"
	}
	r.Reuse, err = s.takeOne("reuse", reuse, "yes", "no", "any")
	return r, errors.Join(err, s.finish())
}

// request reads or composes what the client sends.
func (r *hostileResponse) request(s *hostileSection) error {
	request, err := s.takeOne("request", "GET", "GET", "GET 1.0", "HEAD", "HEAD 1.0")
	if err != nil {
		return err
	}
	r.Method, r.Version10 = strings.CutSuffix(request, " 1.0")
	r.Request = s.client
	if s.client == nil {
		version := "1.1"
		if r.Version10 {
			version = "1.0"
		}
		r.Request = [][]byte{fmt.Appendf(nil, "%s / HTTP/%s\r\nHost: a\r\n\r\n", r.Method, version)}
		return nil
	}
	line, _, _ := strings.Cut(string(bytes.Join(s.client, nil)), "\r\n")
	r.Method, _, _ = strings.Cut(line, " ")
	r.Version10 = strings.HasSuffix(line, " HTTP/1.0")
	return nil
}

func (r *hostileResponse) outcomes(s *hostileSection) error {
	for _, value := range s.take("expect") {
		words := strings.Fields(value)
		if len(words) < 2 {
			return fmt.Errorf("outcome %q is too short", value)
		}
		outcome := hostileOutcome{Kind: hostileKind(words[0])}
		var err error
		switch outcome.Kind {
		case hostilePassed, hostileTruncated:
			outcome.Statuses, err = parseStatuses(words[1:])
		case hostileOwn:
			outcome.Statuses = []hostileStatus{{AnyOf: []int{502}}}
			outcome.Class = words[1]
		default:
			err = fmt.Errorf("unknown outcome %q", words[0])
		}
		if err != nil {
			return err
		}
		r.Outcomes = append(r.Outcomes, outcome)
	}
	if len(r.Outcomes) == 0 {
		return errors.New("expect is missing")
	}
	return nil
}

func (r *hostileResponse) body(s *hostileSection) error {
	bodies, err := s.takeBytes("body")
	if err != nil || len(bodies) == 0 {
		return err
	}
	if len(bodies) > 1 {
		return errors.New("body stands more than once")
	}
	r.Body = &bodies[0]
	return nil
}
