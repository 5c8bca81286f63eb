package web

import (
	"errors"
	"sync"
)

// maxJobs bounds the fetches that are shown, under way or over.
const (
	maxJobs    = 16
	maxRunning = 4
)

// jobs are models on their way here.
type jobs struct {
	mu  sync.Mutex
	all []*job
}

type job struct {
	of          *jobs
	link        string
	done, total int64
	name        string
	err         error
	over        bool
}

// jobView is what is shown of one.
type jobView struct {
	Link        string
	Done, Total int64
	Percent     int
	Name        string
	Problem     string
	Over        bool
}

func (j *jobs) begin(link string) (*job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	running := 0
	for _, old := range j.all {
		if !old.over {
			running++
			if old.link == link {
				return nil, errors.New("this is being fetched already")
			}
		}
	}
	if running >= maxRunning {
		return nil, errors.New("enough is being fetched already; wait for one of them")
	}
	n := &job{of: j, link: link}
	j.all = append(j.all, n)
	for i := 0; len(j.all) > maxJobs && i < len(j.all); {
		if j.all[i].over {
			j.all = append(j.all[:i], j.all[i+1:]...)
			continue
		}
		i++
	}
	return n, nil
}

func (j *job) progress(done, total int64) {
	j.of.mu.Lock()
	defer j.of.mu.Unlock()
	j.done, j.total = done, total
}

func (j *job) end(name string, err error) {
	j.of.mu.Lock()
	defer j.of.mu.Unlock()
	j.name, j.err, j.over = name, err, true
}

// list tells of them, the latest first.
func (j *jobs) list() []jobView {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []jobView
	for i := len(j.all) - 1; i >= 0; i-- {
		x := j.all[i]
		v := jobView{Link: x.link, Done: x.done, Total: x.total, Name: x.name, Over: x.over}
		if x.total > 0 {
			v.Percent = int(100 * x.done / x.total)
		}
		if x.err != nil {
			v.Problem = x.err.Error()
		}
		out = append(out, v)
	}
	return out
}
