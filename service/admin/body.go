package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// body reads the request's body into what v points to: one JSON object with the
// members of its type, and nothing else.
func (c *call) body(v any) error {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return badRequest("the body must be JSON, with Content-Type: application/json")
	}
	raw, err := c.rawBody()
	defer clear(raw) // it may hold a private key; what net/http and the decoder keep of it is not within reach
	if err != nil {
		return c.bodyError(err)
	}
	_ = c.control().SetReadDeadline(time.Time{}) // fails only on a closed connection
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badRequest("the body makes no sense: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badRequest("the body goes on behind its JSON value")
	}
	if err := required(reflect.ValueOf(v).Elem()); err != nil {
		return err
	}
	if judge, ok := v.(interface{ Flaw() string }); ok && judge.Flaw() != "" {
		return badRequest("the body %s", judge.Flaw())
	}
	return nil
}

// rawBody reads the body into one piece of memory, if its length is known.
func (c *call) rawBody() ([]byte, error) {
	var b bytes.Buffer
	if n := c.r.ContentLength; n > 0 && n <= c.route.longest() {
		b.Grow(int(n) + bytes.MinRead)
	}
	_, err := b.ReadFrom(http.MaxBytesReader(c.w, c.r.Body, c.route.longest()))
	return b.Bytes(), err
}

func (c *call) bodyError(err error) error {
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &api.Error{Class: api.TooLarge, Message: "the body is longer than it may be", Hint: "at most " + bytesOf(tooLong.Limit)}
	}
	return badRequest("the body did not come in whole and in time")
}

// required refuses a body that lacks a member: one whose tag does not say omitempty,
// and which is empty.
func required(v reflect.Value) error {
	for f, value := range v.Fields() {
		name, optional := member(f)
		if !optional && value.IsZero() {
			return badRequest("the body lacks %q", name)
		}
	}
	return nil
}

// member returns the name of a field in JSON, and whether it may be left out.
func member(f reflect.StructField) (name string, optional bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, options == "omitempty"
}
