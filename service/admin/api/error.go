package api

import (
	"fmt"
	"net/http"
)

// Class names what kind of error an answer is.
type Class string

// The classes of errors. Each stands for one status.
const (
	BadRequest   Class = "bad_request"   // 400: the request makes no sense; what it says tells why
	NotPermitted Class = "not_permitted" // 403: the caller may not do this
	NotFound     Class = "not_found"     // 404: no such path, upstream, endpoint or identity
	BadMethod    Class = "bad_method"    // 405
	TooLarge     Class = "too_large"     // 413
	Refused      Class = "refused"       // 422: understood and tried, and it could not be done; nothing has changed
	Busy         Class = "busy"          // 503: too many requests at a time
	Stopping     Class = "stopping"      // 503: the daemon stops
	Internal     Class = "internal"      // 500

	// Unauthenticated (401) asks for a bearer token. Only the metrics listener does.
	Unauthenticated Class = "unauthenticated"
)

// Status returns the HTTP status that the class stands for.
func (c Class) Status() int {
	switch c {
	case BadRequest:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case NotPermitted:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case BadMethod:
		return http.StatusMethodNotAllowed
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case Refused:
		return http.StatusUnprocessableEntity
	case Busy, Stopping:
		return http.StatusServiceUnavailable
	case Internal:
	}
	return http.StatusInternalServerError
}

// Error is why the daemon did not do what it was asked.
type Error struct {
	Class   Class    `json:"class"`
	Message string   `json:"message"`           // one line
	Details []string `json:"details,omitempty"` // all that is wrong, when it is more than one thing
	Hint    string   `json:"hint,omitempty"`    // what to do next
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Class, e.Message) }

// ErrorBody is the JSON of an error, as an answer or as the last line of a stream.
type ErrorBody struct {
	Error *Error `json:"error"`
}
