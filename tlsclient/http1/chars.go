package http1

// Character classes, one bit each, looked up per byte.
const (
	isToken = 1 << iota // tchar, RFC 9110 5.6.2
	isValue             // field-vchar, SP and HTAB, RFC 9110 5.5; a reason-phrase too
	isPath              // what a path may hold: pchar, "/" and what browsers send unescaped
	isQuery             // the same for a query
	isHost              // a reg-name or IPv4 address without percent-encoding
	isDigit             // 0-9
	isHex               // 0-9 A-F a-f
	isAlnum             // 0-9 A-Z a-z
)

// class tells the classes of a byte.
var class = makeClasses()

func makeClasses() (t [256]uint8) {
	set := func(bit uint8, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= bit
		}
	}
	const (
		digits = "0123456789"
		alpha  = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	set(isToken, "!#$%&'*+-.^_`|~"+digits+alpha)
	set(isHost, "-._~"+digits+alpha)
	set(isPath, "/%-._~!$&'()*+,;=:@|[]"+digits+alpha)
	set(isQuery, "/%-._~!$&'()*+,;=:@|[]?{}^`\\"+digits+alpha)
	set(isDigit, digits)
	set(isHex, digits+"abcdefABCDEF")
	set(isAlnum, digits+alpha)
	for c := 0x20; c < 0x100; c++ {
		if c != 0x7f {
			t[c] |= isValue
		}
	}
	t['\t'] |= isValue
	return t
}

func all(b []byte, bit uint8) bool {
	for _, c := range b {
		if class[c]&bit == 0 {
			return false
		}
	}
	return true
}

func isTokenBytes(b []byte) bool { return len(b) > 0 && all(b, isToken) }

// trim removes optional white space, RFC 9110 5.6.3.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// EqualFold reports whether b is lower, which must be lower-case ASCII, without
// regard to ASCII case.
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
