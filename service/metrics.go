package service

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/metrics"
)

// prefix begins the name of every metric that is our own.
const prefix = "mtlsproxy_"

// Family describes a family of metrics.
type Family struct {
	Name   string
	Type   string // counter, gauge or histogram
	Help   string
	Labels []string // of the values; "le" of histograms goes without saying

	collect func(*scrape, emit) // nil: a histogram
}

// emit writes one value. The labels are those of the family, in its order.
type emit func(value float64, labels ...string)

// Families returns every family that Metrics writes of its own, in order: those of
// the Go runtime and the process, go_* and process_*, come after them.
func Families() []Family {
	var all []Family
	for _, table := range [][]Family{daemonFamilies(), exchangeFamilies(), upstreamFamilies(), endpointFamilies(), identityFamilies(), keptFamilies()} {
		for _, f := range table {
			f.Name = prefix + f.Name
			all = append(all, f)
		}
	}
	return all
}

// writeMetrics writes all metrics in the Prometheus text format 0.0.4.
func (s *Service) writeMetrics(w io.Writer) error {
	var histograms bytes.Buffer
	s.meters.set.WritePrometheus(&histograms)
	snapshot := s.scrape()
	out := bufio.NewWriter(w)
	for _, f := range Families() {
		fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", f.Name, f.Help, f.Name, f.Type)
		if f.collect == nil {
			copyFamily(out, histograms.Bytes(), f.Name)
			continue
		}
		f.collect(snapshot, func(value float64, labels ...string) { writeValue(out, &f, value, labels) })
	}
	metrics.WriteProcessMetrics(out)
	metrics.WriteFDMetrics(out)
	return out.Flush()
}

// copyFamily copies the lines of one histogram family.
func copyFamily(out *bufio.Writer, from []byte, name string) {
	for line := range bytes.Lines(from) {
		rest, ok := bytes.CutPrefix(line, []byte(name))
		if ok && (bytes.HasPrefix(rest, []byte("_bucket")) || bytes.HasPrefix(rest, []byte("_sum")) || bytes.HasPrefix(rest, []byte("_count"))) {
			_, _ = out.Write(line) // Flush tells of errors
		}
	}
}

func writeValue(out *bufio.Writer, f *Family, value float64, labels []string) {
	if len(labels) != len(f.Labels) {
		panic(fmt.Sprintf("BUG: %s has %d labels, got %q", f.Name, len(f.Labels), labels))
	}
	b := append(out.AvailableBuffer(), f.Name...)
	for i, name := range f.Labels {
		b = append(b, "{,"[min(i, 1)])
		b = append(append(append(b, name...), `="`...), labelEscapes.Replace(labels[i])...)
		b = append(b, '"')
	}
	if len(labels) > 0 {
		b = append(b, '}')
	}
	b = append(b, ' ')
	b = strconv.AppendFloat(b, value, 'g', -1, 64)
	_, _ = out.Write(append(b, '\n')) // Flush tells of errors
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
