package http1

// Error says how a message breaks the protocol.
type Error struct {
	// Status is the answer a client deserves for such a request. For a response
	// it means nothing.
	Status int
	// Reason is fixed text, lower case; it never repeats what the peer sent.
	Reason string
}

func (e *Error) Error() string { return e.Reason }

func bad(reason string) *Error { return &Error{Status: 400, Reason: reason} }

// The ways a head can be wrong. They are compared by identity.
var (
	errBareLF         = bad("a line ends in LF without CR")
	errRequestLine    = bad("malformed request line")
	errMethod         = bad("the method is not a token")
	errMethodLong     = &Error{501, "the method is longer than any in use"}
	errMethodCase     = bad("a known method in the wrong case")
	errTarget         = bad("invalid request target")
	errVersion        = bad("malformed HTTP version")
	errMajor          = &Error{505, "only HTTP/1 is spoken here"}
	errConnect        = &Error{501, "CONNECT is not served here"}
	errTrace          = &Error{501, "TRACE is not served here"}
	errFieldName      = bad("a field name is not a token")
	errFieldSpace     = bad("white space before the colon of a field")
	errFieldFold      = bad("a folded field line")
	errFieldValue     = bad("a control character in a field value")
	errFieldColon     = bad("a field line without a colon")
	errHostMissing    = bad("the Host field is missing")
	errHostTwice      = bad("more than one Host field")
	errHost           = bad("invalid Host")
	errLength         = bad("malformed Content-Length")
	errLengthTwice    = bad("more than one Content-Length field")
	errCoding         = bad("a Transfer-Encoding other than one chunked")
	errCodingOld      = bad("Transfer-Encoding in an HTTP/1.0 message")
	errBothFramings   = bad("both Content-Length and Transfer-Encoding")
	errConnection     = bad("malformed Connection field")
	errConnectionLong = bad("too many Connection options")
	errExpect         = &Error{417, "an expectation other than 100-continue"}
	errMaxForwards    = bad("malformed Max-Forwards")
	errStatusLine     = bad("malformed status line")
	errChunk          = bad("broken chunk framing")
	errChunkExt       = bad("chunk extensions are too long")
	errTrailerLarge   = &Error{431, "the trailer section is too large"}
	errTrailerFields  = bad("a malformed trailer field")
)

// What is larger than Limits allow, or than Body.Max.
var (
	ErrTargetTooLong = &Error{414, "the request target is too long"}
	ErrHeadTooLarge  = &Error{431, "the message head is too large"}
	ErrTooManyFields = &Error{431, "too many header fields"}
	ErrBodyTooLarge  = &Error{413, "the body is too large"}
)
