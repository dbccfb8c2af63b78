package main

import (
	"io"
	"slices"
	"testing"
	"time"
)

func parse(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parseOptions(args, io.Discard)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return o
}

func TestOptions(t *testing.T) {
	o := parse(t, "-only", "idle,small", "-n", "4", "-peers", "", "-binary", "pgo=/x/y")
	if !slices.Equal(o.only, []string{"idle", "small"}) || !slices.Equal(o.threads, []int{4}) || len(o.peers) != 0 {
		t.Errorf("got %+v", o)
	}
	if !slices.Equal(o.binaries, []binary{{"pgo", "/x/y"}}) {
		t.Errorf("binaries = %v", o.binaries)
	}
}

func TestQuickIsASetOfDefaults(t *testing.T) {
	o := parse(t, "-quick", "-idle", "7")
	if o.rounds != 1 || o.duration != time.Second || o.idle != 7 {
		t.Errorf("got %+v", o)
	}
}

func TestOnlyAFullRunOverwritesTheResults(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		if got := parse(t, args...).out; got != want {
			t.Errorf("%q: out = %q, want %q", args, got, want)
		}
	}
	f(defaultOut)
	f(defaultOut, "-mtlsproxyd", "/x")
	f("", "-quick")
	f("", "-peers", "nginx")
	f("/tmp/x", "-quick", "-out", "/tmp/x")
}

func TestBadOptions(t *testing.T) {
	for _, args := range [][]string{
		{"extra"},
		{"-only", "big"},
		{"-only", ""},
		{"-peers", "caddy"},
		{"-n", "0"},
		{"-n", "x"},
		{"-n", ""},
		{"-rounds", "0"},
		{"-duration", "1ms"},
		{"-conns", "0"},
		{"-bulk", "0"},
		{"-idle", "0"},
		{"-binary", "name"},
		{"-binary", "nginx=/x"},
		{"-binary", "upstream=/x"},
		{"-binary", "a/b=/x"},
		{"-binary", "a=/x", "-binary", "a=/y"},
	} {
		if _, err := parseOptions(args, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
