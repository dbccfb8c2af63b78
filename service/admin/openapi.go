package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/mtlsproxy/mtlsproxy/service/admin/api"
)

// object is a JSON object.
type object = map[string]any

// describe returns the OpenAPI 3.1 description of a table.
func describe(rows []route) (json.RawMessage, error) {
	s := schemas{}
	paths := object{}
	for i := range rows {
		r := &rows[i]
		item, ok := paths[r.path].(object)
		if !ok {
			item = object{}
			paths[r.path] = item
		}
		item[strings.ToLower(r.method)] = r.operation(s)
	}
	return json.Marshal(object{
		"openapi": "3.1.0",
		"info": object{
			"title":   "mtlsproxy admin API",
			"version": "v1",
			"description": "HTTP/1.1 over a unix socket. The peer credentials of a connection decide what it may do. " +
				"Durations are numbers of seconds, times are RFC 3339 in UTC, sizes are bytes. " +
				"Fields may be added to a version; readers skip those they do not know.",
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":    []object{{"url": "http://mtlsproxy", "description": "the admin socket, " + api.SystemSocket}},
		"paths":      paths,
		"components": object{"schemas": s},
	})
}

// operation describes one row.
func (r *route) operation(s schemas) object {
	o := object{
		"operationId":  r.operationID(),
		"summary":      r.summary,
		"x-permission": string(r.needs),
		"responses":    r.responses(s),
	}
	if len(r.params) > 0 {
		var list []object
		for _, p := range r.params {
			list = append(list, object{"name": p.name, "in": "query", "description": p.doc, "schema": p.form.schema()})
		}
		o["parameters"] = list
	}
	if r.accepts != nil {
		o["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(r.accepts)}}}
	}
	return o
}

// operationID is a name for programs that are made from the description: getLogRecords.
func (r *route) operationID() string {
	var id strings.Builder
	id.WriteString(strings.ToLower(r.method))
	for word := range strings.FieldsFuncSeq(strings.TrimPrefix(r.path, "/v1"), func(c rune) bool { return c == '/' || c == '.' }) {
		id.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return id.String()
}

func (r *route) responses(s schemas) object {
	answer := object{"description": r.description(), "content": r.content(s)}
	out := object{
		strconv.Itoa(http.StatusOK): answer,
		"default": object{
			"description": "An error: its class and status say which",
			"content":     object{"application/json": object{"schema": s.of(reflect.TypeFor[api.ErrorBody]())}},
		},
	}
	if r.also != 0 {
		out[strconv.Itoa(r.also)] = answer
	}
	return out
}

func (r *route) description() string {
	if r.kind == stream {
		return "One value per line. An empty line shows that the stream lives; a Lost stands for values the reader was too slow for; an ErrorBody is the last line."
	}
	return r.summary
}

func (r *route) content(s schemas) object {
	switch r.kind {
	case stream:
		return object{"application/x-ndjson": object{"schema": object{"anyOf": []object{
			s.of(r.answers), s.of(reflect.TypeFor[api.Lost]()), s.of(reflect.TypeFor[api.ErrorBody]()),
		}}}}
	case prose:
		return object{"text/plain": object{"schema": object{"type": "string"}}}
	case value:
	}
	return object{"application/json": object{"schema": s.of(r.answers)}}
}

// schema describes a parameter's value.
func (f form) schema() object {
	switch f {
	case count:
		return object{"type": "integer", "minimum": 0}
	case limit:
		return object{"type": "integer", "minimum": -1}
	case flag:
		return object{"type": "boolean"}
	case moment:
		return object{"type": "string", "format": "date-time"}
	case order:
		return object{"type": "string", "enum": []string{"newest", "oldest"}}
	case text, duration:
	}
	return object{"type": "string"}
}

// schemas are the types of the API by name, as they are met.
type schemas map[string]object

// of returns the schema of a type, or a reference to it.
func (s schemas) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[json.RawMessage]():
		return object{"type": "object"}
	case t.PkgPath() == "time":
		return object{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if _, known := s[t.Name()]; !known {
			o := object{"type": "object"}
			s[t.Name()] = o
			properties, required := object{}, []string{}
			s.fields(t, properties, &required)
			o["properties"], o["required"] = properties, required
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	default:
		panic(fmt.Sprintf("BUG: type %v has no schema", t))
	}
}

// fields adds the members that a struct has in JSON.
func (s schemas) fields(t reflect.Type, properties object, required *[]string) {
	for f := range t.Fields() {
		if f.Anonymous && f.Tag.Get("json") == "" {
			s.fields(f.Type, properties, required)
			continue
		}
		name, optional := member(f)
		schema := s.of(f.Type)
		if f.Type.Kind() == reflect.Pointer && !optional {
			schema = object{"anyOf": []object{schema, {"type": "null"}}}
		}
		properties[name] = schema
		if !optional {
			*required = append(*required, name)
		}
	}
}
