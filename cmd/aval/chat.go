package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
)

const chatHelp = `  /clear          forget the conversation
  /system TEXT    set the system message and forget the conversation
  /speed          tell the speed after each answer, or stop telling
  /bye            leave (also Ctrl-D)
  """             begin and end a message of several lines
Ctrl-C ends an answer.`

// lines reads what the person types.
type lines interface {
	line(prompt string) (string, error) // io.EOF at the end
}

// terminal edits lines, with a history, on a terminal in raw mode; between
// lines the terminal is as it was, so that answers and Ctrl-C work as usual.
type terminal struct {
	fd   int
	term *term.Terminal
	quit chan os.Signal // asks the program to end
}

func newTerminal(in *os.File, out io.Writer) *terminal {
	t := &terminal{fd: int(in.Fd()), quit: make(chan os.Signal, 1), term: term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "")}
	signal.Notify(t.quit, syscall.SIGTERM)
	return t
}

func (t *terminal) line(prompt string) (string, error) {
	old, err := term.MakeRaw(t.fd)
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	defer func() { _ = term.Restore(t.fd, old) }() // nothing can be done about it
	if w, h, err := term.GetSize(t.fd); err == nil && w > 0 {
		_ = t.term.SetSize(w, h) // only redraws
	}
	t.term.SetPrompt(prompt)
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := t.term.ReadLine()
		read <- result{line, err}
	}()
	select {
	case <-t.quit: // the program ends, and the reading with it
		return "", context.Canceled
	case r := <-read:
		if errors.Is(r.err, term.ErrPasteIndicator) {
			r.err = nil
		}
		return r.line, r.err
	}
}

// conversation is what a person and a model say to one another.
type conversation struct {
	*app
	options  *runOptions
	messages []chat.Message
	// reply answers a message that follows on what was said before, and shows the
	// answer; ok says that there is one to be remembered.
	reply func(ctx context.Context, text string) (answer string, ok bool, err error)
}

// chat talks with the model of a name until the person leaves. positions are those
// of its context, 0 if that is not known.
func (s *conversation) chat(ctx context.Context, name string, positions int) error {
	in, ok := s.in.(*os.File)
	if !ok {
		return usageErrorf("a chat needs a terminal; give a PROMPT")
	}
	if positions > 0 {
		name = fmt.Sprintf("%s · context %d tokens", name, positions)
	}
	s.note("%s · /help for help", name)
	screen := s.out
	if !s.outTerminal {
		screen = s.err // the answers go elsewhere, and only they
	}
	// From here on an interrupt ends an answer, not the program.
	return s.talk(context.WithoutCancel(ctx), newTerminal(in, screen))
}

func (s *conversation) talk(ctx context.Context, from lines) error {
	for {
		text, err := readMessage(from)
		if errors.Is(err, io.EOF) {
			fmt.Fprintln(s.out)
			return nil
		}
		if err != nil {
			return err
		}
		switch word, rest, _ := strings.Cut(strings.TrimSpace(text), " "); word {
		case "":
		case "/bye", "/exit", "/quit":
			return nil
		case "/help", "/?":
			s.note("%s", chatHelp)
		case "/clear":
			s.clear()
		case "/system":
			s.setSystem(strings.TrimSpace(rest))
		case "/speed":
			s.options.verbose = !s.options.verbose
		default:
			if strings.HasPrefix(word, "/") && !strings.Contains(word[1:], "/") {
				s.note("there is no command %s; /help lists them", word)
				continue
			}
			if err := s.exchange(ctx, text); err != nil {
				return err
			}
		}
	}
}

// readMessage reads a line, or several between lines of """.
func readMessage(from lines) (string, error) {
	const fence = `"""`
	text, err := from.line(">>> ")
	if err != nil || !strings.HasPrefix(text, fence) {
		return text, err
	}
	text = strings.TrimPrefix(text, fence)
	for !strings.HasSuffix(text, fence) {
		more, err := from.line("... ")
		if err != nil {
			return "", err
		}
		text += "\n" + more
	}
	return strings.Trim(strings.TrimSuffix(text, fence), "\n"), nil
}

func (s *conversation) clear() {
	if len(s.messages) > 0 && s.messages[0].Role == "system" {
		s.messages = s.messages[:1]
		return
	}
	s.messages = nil
}

func (s *conversation) setSystem(text string) {
	s.messages = nil
	if text != "" {
		s.messages = []chat.Message{{Role: "system", Content: text}}
	}
}

// exchange answers one message and remembers both. Only failures of the
// program itself are returned.
func (s *conversation) exchange(ctx context.Context, text string) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	answer, ok, err := s.reply(ctx, text)
	var tooLong *engine.PromptTooLongError
	switch {
	case errors.As(err, &tooLong):
		s.note("%v; /clear forgets the conversation", err)
		return nil
	case gone(err):
		s.note("(interrupted)")
	case err != nil:
		return err
	}
	if !ok || s.options.raw {
		return nil
	}
	thoughts, said := chat.SplitReasoning(answer)
	s.messages = append(s.messages,
		chat.Message{Role: "user", Content: text},
		chat.Message{Role: "assistant", Content: said, Reasoning: thoughts})
	return nil
}
