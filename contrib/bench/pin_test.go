package main

import (
	"slices"
	"testing"
)

func TestProxiesGetProcessorsOfTheirOwnIfSomeAreLeft(t *testing.T) {
	all, err := place(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(all.proxies, all.others) {
		t.Errorf("%v and %v with more threads than processors", all.proxies, all.others)
	}
	if len(all.others) == 1 {
		t.Skip("SKIP: one processor cannot be divided")
	}
	one, err := place(1)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(append(slices.Clone(one.proxies), one.others...), all.others) || len(one.proxies) != 1 {
		t.Errorf("%v and %v of %v", one.proxies, one.others, all.others)
	}
}
