package engine

// queue holds the requests that wait for a slot. Users take turns; the
// requests of one user keep their order.
type queue struct {
	users []*line // in turn; never empty lines
	size  int
}

type line struct {
	user  string
	tasks []*task
}

func (q *queue) push(t *task) {
	q.size++
	for _, l := range q.users {
		if l.user == t.req.User {
			l.tasks = append(l.tasks, t)
			return
		}
	}
	q.users = append(q.users, &line{user: t.req.User, tasks: []*task{t}})
}

// first returns the task that pop would take, or nil.
func (q *queue) first() *task {
	if q.size == 0 {
		return nil
	}
	return q.users[0].tasks[0]
}

// pop takes the first request of the user whose turn it is, or returns nil.
func (q *queue) pop() *task {
	t := q.first()
	if t == nil {
		return nil
	}
	l := q.users[0]
	l.tasks = l.tasks[1:]
	q.users = append(q.users[:0], q.users[1:]...)
	if len(l.tasks) > 0 {
		q.users = append(q.users, l)
	}
	q.size--
	return t
}

// remove takes t out and reports whether it was waiting.
func (q *queue) remove(t *task) bool {
	for i, l := range q.users {
		for j, x := range l.tasks {
			if x != t {
				continue
			}
			l.tasks = append(l.tasks[:j], l.tasks[j+1:]...)
			if len(l.tasks) == 0 {
				q.users = append(q.users[:i], q.users[i+1:]...)
			}
			q.size--
			return true
		}
	}
	return false
}
