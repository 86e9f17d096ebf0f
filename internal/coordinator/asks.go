package coordinator

import (
	"container/list"
	"iter"
)

// Asks are the questions for work that wait for an answer, oldest first.
type asks struct {
	all    list.List // of Asked
	ticket map[Ticket]*list.Element
	node   map[string][]*list.Element
}

func newAsks() *asks {
	return &asks{ticket: make(map[Ticket]*list.Element), node: make(map[string][]*list.Element)}
}

func (a *asks) add(e Asked) {
	at := a.all.PushBack(e)
	a.ticket[e.Ticket] = at
	a.node[e.Want.Node] = append(a.node[e.Want.Node], at)
}

// remove forgets a question, if it waits.
func (a *asks) remove(t Ticket) {
	at := a.ticket[t]
	if at == nil {
		return
	}
	delete(a.ticket, t)
	node := at.Value.(Asked).Want.Node
	of := a.node[node]
	for i := range of {
		if of[i] == at {
			of = append(of[:i], of[i+1:]...)
			break
		}
	}
	if a.node[node] = of; len(of) == 0 {
		delete(a.node, node)
	}
	a.all.Remove(at)
}

// each yields all questions. The one that is yielded may be removed.
func (a *asks) each() iter.Seq[Asked] {
	return func(yield func(Asked) bool) {
		for at := a.all.Front(); at != nil; {
			next := at.Next()
			if !yield(at.Value.(Asked)) {
				return
			}
			at = next
		}
	}
}

// of returns the questions of a node.
func (a *asks) of(node string) (es []Asked) {
	for _, at := range a.node[node] {
		es = append(es, at.Value.(Asked))
	}
	return es
}
