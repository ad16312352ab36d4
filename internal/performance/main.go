// Performance measures Gatehouse beside its limits, in one run on one machine:
//
//	go run ./internal/performance
//
// It starts servers in processes of their own: Gatehouse on each store, and what does only the part
// of the same work that nothing can do without, such as an HTTP handler that does nothing, one that
// commits the same bytes to the disk, and a loop of password hashes. It loads each of them in turn, in
// rounds, and prints how fast each is, and how fast Gatehouse is in comparison with its limit.
// docs/performance.md says how to read that.
//
// Commands measure single things:
//
//	storm       reading while others log in with passwords
//	contention  transactions that get into each other's way in PostgreSQL
//	scale       a bbolt file of many accounts beside one of a thousand
//	start       starting a server in a test
//
// Each has its flags, as in:
//
//	go run ./internal/performance storm -help
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	Rounds           int           `json:"rounds"`
	Time             time.Duration `json:"time"` // of one measurement, in nanoseconds
	Clients          []int         `json:"clients"`
	Stores           []string      `json:"stores"`
	Work             []string      `json:"work,omitempty"` // none: all
	Accounts         int           `json:"accounts"`
	PasswordAccounts int           `json:"passwordAccounts"`
	Sessions         int           `json:"sessions"` // of each account
	HashMemory       uint32        `json:"hashMemory,omitempty"`
	HashTime         uint32        `json:"hashTime,omitempty"`
	NetHTTP          bool          `json:"netHTTP,omitempty"`
	Reference        string        `json:"-"` // the directory of the reference server
	Profiles         string        `json:"-"`
	Out              string        `json:"-"`
}

// defaults are the settings without flags.
var defaults = settings{
	Rounds: 5, Time: time.Second, Clients: []int{1, 8, 32}, Stores: []string{"memory", "bolt", "postgres"},
	Accounts: 1000, PasswordAccounts: 64, Sessions: 8,
}

// commands are what the program can do, by name.
var commands = map[string]func(ctx context.Context, args []string, out, log io.Writer) error{
	"":           measure,
	"storm":      storm,
	"contention": contention,
	"scale":      scale,
	"start":      starts,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := execute(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "performance:", err)
		os.Exit(1)
	}
}

// execute runs a command.
func execute(ctx context.Context, args []string) error {
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	if name == "serve" {
		return serve()
	}
	command, ok := commands[name]
	if !ok {
		return fmt.Errorf("there is no command %q", name)
	}
	return command(ctx, args, os.Stdout, os.Stderr)
}

// measure is the program without a command.
func measure(ctx context.Context, args []string, out, log io.Writer) error {
	s := defaults
	flags := flag.NewFlagSet("performance", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.IntVar(&s.Rounds, "rounds", s.Rounds, "number of rounds, of which medians are taken")
	flags.DurationVar(&s.Time, "time", s.Time, "time of one measurement")
	flags.IntVar(&s.Accounts, "accounts", s.Accounts, "accounts of each server")
	flags.StringVar(&s.Reference, "reference", "", "`directory` of the reference server, as make compare has built it, to measure it too")
	flags.StringVar(&s.Profiles, "profiles", "", "`directory` to write profiles of the servers to, which costs some percent of speed")
	flags.StringVar(&s.Out, "out", "", "`directory` to write performance.json and performance.svg to")
	flags.BoolVar(&s.NetHTTP, "nethttp", false, "clients of net/http, which cost several times as much as those of this program")
	flags.Var(list[int]{&s.Clients, strconv.Atoi}, "clients", "numbers of clients")
	flags.Var(list[string]{&s.Stores, oneOf("memory", "bolt", "postgres")}, "stores", "stores to measure")
	flags.Var(list[string]{&s.Work, oneOf(names()...)}, "work", "workloads: "+strings.Join(names(), ", ")+" (default all)")
	quick := flags.Bool("quick", false, "32 clients, two rounds of 0.3 s, and no PostgreSQL: less than a minute")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if s.Rounds < 1 || slices.Min(s.Clients) < 1 {
		return errors.New("-rounds and -clients are at least 1")
	}
	if *quick {
		given := s
		s.Rounds, s.Time, s.Clients, s.Stores = 2, 300*time.Millisecond, []int{32}, []string{"memory", "bolt"}
		flags.Visit(func(f *flag.Flag) {
			switch f.Name {
			case "rounds":
				s.Rounds = given.Rounds
			case "time":
				s.Time = given.Time
			case "clients":
				s.Clients = given.Clients
			case "stores":
				s.Stores = given.Stores
			}
		})
	}
	s.PasswordAccounts = max(s.PasswordAccounts, slices.Max(s.Clients))
	s.Accounts = max(s.Accounts, slices.Max(s.Clients))
	r, err := runMatrix(ctx, s, log)
	if err != nil {
		return err
	}
	r.print(out)
	if s.Out != "" {
		if err := r.write(s.Out); err != nil {
			return err
		}
	}
	return r.failed()
}

// names returns the names of the workloads.
func names() []string {
	var all []string
	for _, w := range workloads {
		all = append(all, w.name)
	}
	return all
}

// list is a flag of values that are separated by commas.
type list[T any] struct {
	to    *[]T
	parse func(string) (T, error)
}

func (l list[T]) String() string {
	if l.to == nil {
		return ""
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(*l.to), " ", ","), "[]")
}

func (l list[T]) Set(text string) error {
	var all []T
	for part := range strings.SplitSeq(text, ",") {
		one, err := l.parse(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		all = append(all, one)
	}
	*l.to = all
	return nil
}

// oneOf parses one of some words.
func oneOf(words ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		for _, w := range words {
			if strings.EqualFold(w, text) {
				return w, nil
			}
		}
		return "", fmt.Errorf("%q is none of %s", text, strings.Join(words, ", "))
	}
}
