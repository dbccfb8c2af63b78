package limiter

// node is an element's place in a list. It is part of the element, so that lists
// need no memory of their own.
type node[T any] struct {
	prev, next *node[T]
	of         *T
}

// list is a doubly linked list of elements that hold their own nodes. A node is in
// one list at most.
type list[T any] struct {
	front, back *node[T]
	n           int
}

func (l *list[T]) push(e *node[T]) {
	e.prev, e.next = l.back, nil
	if l.back == nil {
		l.front = e
	} else {
		l.back.next = e
	}
	l.back = e
	l.n++
}

func (l *list[T]) remove(e *node[T]) {
	if e.prev == nil {
		l.front = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.back = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.n--
}
