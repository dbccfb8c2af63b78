package admin

import "reflect"

// complete returns v with empty slices and maps in place of nil ones: clients find
// [] and {}, and never null where a list is promised. v itself stays as it is.
func complete(v any) any {
	if v == nil {
		return nil
	}
	return filled(reflect.ValueOf(v)).Interface()
}

func filled(v reflect.Value) reflect.Value {
	t := v.Type()
	if !gaps(t) {
		return v
	}
	switch t.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out := reflect.New(t.Elem())
		out.Elem().Set(filled(v.Elem()))
		return out
	case reflect.Struct:
		out := reflect.New(t).Elem()
		out.Set(v)
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				out.Field(i).Set(filled(v.Field(i)))
			}
		}
		return out
	case reflect.Slice:
		out := reflect.MakeSlice(t, v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(filled(v.Index(i)))
		}
		return out
	default: // a map
		out := reflect.MakeMapWithSize(t, v.Len())
		for key, element := range v.Seq2() {
			out.SetMapIndex(key, filled(element))
		}
		return out
	}
}

// gaps reports whether a value of type t may hold a nil slice or map that shows in
// JSON. No type of the API holds itself.
func gaps(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Map:
		return true
	case reflect.Slice:
		return t.Elem().Kind() != reflect.Uint8 // bytes are text
	case reflect.Pointer:
		return gaps(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if f.IsExported() && gaps(f.Type) {
				return true
			}
		}
	default:
	}
	return false
}
