package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// document is what these tests look at of an OpenAPI 3.1 description.
type document struct {
	OpenAPI string `json:"openapi"`
	Info    struct{ Title, Version string }
	Paths   map[string]map[string]struct {
		OperationID string `json:"operationId"`
		Summary     string
		Permission  string `json:"x-permission"`
		Parameters  []struct {
			Name, In, Description string
			Schema                map[string]any
		}
		RequestBody *struct {
			Required bool
			Content  map[string]struct{ Schema schema }
		} `json:"requestBody"`
		Responses map[string]struct {
			Description string
			Content     map[string]struct{ Schema schema }
		}
	}
	Components struct{ Schemas map[string]schema }
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Encoding   string `json:"contentEncoding"`
	Items      *schema
	AnyOf      []schema `json:"anyOf"`
	Properties map[string]schema
	Required   []string
}

func description(t *testing.T) document {
	t.Helper()
	w := start(t, ready)
	resp, body := w.ask(t, stranger, "GET", "/v1/openapi.json", "")
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, body)
	}
	var d document
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// resolve follows a reference.
func (d document) resolve(t *testing.T, s schema) schema {
	t.Helper()
	if s.Ref == "" {
		return s
	}
	out, ok := d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	if !ok {
		t.Fatalf("%s leads nowhere", s.Ref)
	}
	return out
}

func TestDescriptionHasEveryRowAndNoOther(t *testing.T) {
	d := description(t)
	if d.OpenAPI != "3.1.0" || d.Info.Title == "" || d.Info.Version == "" {
		t.Errorf("openapi %q, info %+v", d.OpenAPI, d.Info)
	}
	described, ids := 0, map[string]bool{}
	for _, item := range d.Paths {
		described += len(item)
	}
	rows := table(ready, nobody)
	if described != len(rows) {
		t.Errorf("%d operations are described, the table has %d", described, len(rows))
	}
	for _, r := range rows {
		name := r.method + " " + r.path
		o, ok := d.Paths[r.path][strings.ToLower(r.method)]
		if !ok {
			t.Errorf("%s is not described", name)
			continue
		}
		if o.Summary != r.summary || o.Summary == "" || o.Permission != string(r.needs) || ids[o.OperationID] || o.OperationID == "" {
			t.Errorf("%s: %+v", name, o)
		}
		ids[o.OperationID] = true
		if (o.RequestBody != nil) != (r.accepts != nil) {
			t.Errorf("%s: body %+v", name, o.RequestBody)
		}
		var params []string
		for _, p := range o.Parameters {
			params = append(params, p.Name)
			if p.In != "query" || p.Description == "" || p.Schema["type"] == nil {
				t.Errorf("%s: parameter %+v", name, p)
			}
		}
		if want := names(r.params); !slices.Equal(params, want) {
			t.Errorf("%s: parameters %v, want %v", name, params, want)
		}
		for status, resp := range o.Responses {
			if resp.Description == "" || len(resp.Content) != 1 {
				t.Errorf("%s: response %s is %+v", name, status, resp)
			}
		}
		if _, ok := o.Responses["default"].Content["application/json"]; !ok {
			t.Errorf("%s: errors are not described", name)
		}
	}
	if _, ok := d.Paths["/v1/health"]["get"].Responses["503"]; !ok {
		t.Error("the health of a daemon that is not ready is not described")
	}
}

func names(params []param) []string {
	var out []string
	for _, p := range params {
		out = append(out, p.name)
	}
	return out
}

// The schema of every answer and body has exactly the members that encoding the type
// gives, and requires those that are always there.
func TestSchemasAreWhatIsSent(t *testing.T) {
	d := description(t)
	for _, r := range table(ready, nobody) {
		o := d.Paths[r.path][strings.ToLower(r.method)]
		if r.accepts != nil {
			same(t, d, o.RequestBody.Content["application/json"].Schema, r.accepts)
		}
		switch r.kind {
		case value:
			if r.path != "/v1/openapi.json" {
				same(t, d, o.Responses["200"].Content["application/json"].Schema, r.answers)
			}
		case stream:
			any := o.Responses["200"].Content["application/x-ndjson"].Schema.AnyOf
			if len(any) != 3 {
				t.Fatalf("%s: a line is one of %+v", r.path, any)
			}
			same(t, d, any[0], r.answers)
			same(t, d, any[1], reflect.TypeFor[api.Lost]())
			same(t, d, any[2], reflect.TypeFor[api.ErrorBody]())
		case prose:
			if _, ok := o.Responses["200"].Content["text/plain"]; !ok {
				t.Errorf("%s: %+v", r.path, o.Responses)
			}
		}
	}
	for name, s := range d.Components.Schemas {
		if s.Type != "object" || len(s.Properties) == 0 {
			t.Errorf("schema %s: %+v", name, s)
		}
	}
}

// same compares a schema with what encoding/json makes of a type, and goes down
// into it.
func same(t *testing.T, d document, s schema, typ reflect.Type) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ == reflect.TypeFor[[]byte]() {
		if s.Type != "string" || s.Encoding != "base64" {
			t.Errorf("%v is %+v", typ, s)
		}
		return
	}
	if typ.Kind() == reflect.Slice {
		if s.Type != "array" {
			t.Errorf("%v is %+v", typ, s)
			return
		}
		same(t, d, *s.Items, typ.Elem())
		return
	}
	if typ.Kind() != reflect.Struct || typ == reflect.TypeFor[time.Time]() {
		return
	}
	if len(s.AnyOf) == 2 { // or null
		s = s.AnyOf[0]
	}
	s = d.resolve(t, s)
	filled := reflect.New(typ).Elem()
	fill(filled)
	if got, want := keys(s.Properties), members(t, filled); !slices.Equal(got, want) {
		t.Errorf("%v: schema has %v, JSON %v", typ, got, want)
	}
	slices.Sort(s.Required)
	if got, want := s.Required, members(t, reflect.Zero(typ)); !slices.Equal(got, want) {
		t.Errorf("%v: schema requires %v, JSON always has %v", typ, got, want)
	}
	for f := range typ.Fields() {
		if f.Anonymous {
			continue
		}
		name, _ := member(f)
		same(t, d, s.Properties[name], f.Type)
	}
}

func keys[V any](m map[string]V) []string {
	out := []string{}
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// members are the names in the JSON of v.
func members(t *testing.T, v reflect.Value) []string {
	t.Helper()
	b, err := json.Marshal(v.Interface())
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", b, err))
	}
	return keys(m)
}

// fill gives every field a value that JSON does not leave out.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1, 0)))
			return
		}
		for _, field := range v.Fields() {
			fill(field)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), reflect.Zero(v.Type().Elem()))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1)
	default:
		v.Set(reflect.ValueOf(1).Convert(v.Type()))
	}
}
