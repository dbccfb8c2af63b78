package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const in = `{"Action":"start","Package":"a"}
{"Action":"run","Package":"a","Test":"TestGood"}
{"Action":"output","Package":"a","Test":"TestGood","Output":"noise\n"}
{"Action":"pass","Package":"a","Test":"TestGood","Elapsed":0.1}
{"Action":"output","Package":"a","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"a","Test":"TestBad","Output":"    a_test.go:7: wrong\n"}
{"Action":"fail","Package":"a","Test":"TestBad","Elapsed":0.1}
{"Action":"output","Package":"a","Test":"TestSkipped","Output":"=== RUN   TestSkipped\n"}
{"Action":"output","Package":"a","Test":"TestSkipped","Output":"    a_test.go:9: needs a moon\n"}
{"Action":"output","Package":"a","Test":"TestSkipped","Output":"--- SKIP: TestSkipped (0.00s)\n"}
{"Action":"skip","Package":"a","Test":"TestSkipped","Elapsed":0}
{"Action":"output","Package":"a","Output":"FAIL\n"}
{"Action":"fail","Package":"a","Elapsed":1.25}
{"Action":"skip","Package":"b","Elapsed":0}
{"Action":"output","Package":"c","Test":"TestWaiting","Output":"=== PAUSE TestWaiting\n"}
{"Action":"output","Package":"c","Test":"TestBurning","Output":"=== RUN   TestBurning\n"}
{"Action":"output","Package":"c","Test":"TestBurning","Output":"panic: test timed out\n"}
{"Action":"output","Package":"c","Output":"FAIL\tc\t600s\n"}
{"Action":"fail","Package":"c","Elapsed":600}
something else
`
	const want = `FAIL  a TestBad
=== RUN   TestBad
    a_test.go:7: wrong
FAIL  a 1.2s
FAIL
-     b has no tests
FAIL  c TestBurning did not end
=== RUN   TestBurning
panic: test timed out
FAIL  c 600.0s
FAIL	c	600s
something else

SKIP  a TestSkipped: a_test.go:9: needs a moon
FAILED: 1 passed, 2 failed, 1 skipped in 0s
`
	var out strings.Builder
	r := newReport(&out)
	if err := r.read(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	r.summary(0)
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}
