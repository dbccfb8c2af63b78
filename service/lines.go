package service

import "strings"

// Lines splits an error of this package into the things that are wrong, one line
// each, without the words that only mark its class.
func Lines(err error) []string {
	text := err.Error()
	for _, class := range []error{ErrConfig, ErrListen} {
		if rest, ok := strings.CutPrefix(text, class.Error()); ok {
			text = strings.TrimLeft(rest, ": \n")
		}
	}
	return strings.Split(strings.TrimSpace(text), "\n")
}
