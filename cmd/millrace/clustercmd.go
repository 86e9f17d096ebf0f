package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/home"
	"github.com/millrace/millrace/internal/identity"
)

// A clusterCmd holds the commands that make a cluster and say how it is.
type clusterCmd struct {
	Init  clusterInitCmd  `cmd:"" help:"Begin a cluster on this machine, its first coordinator."`
	Token clusterTokenCmd `cmd:"" help:"Print a token by which one node can join, once."`
	Join  clusterJoinCmd  `cmd:"" help:"Make this machine, or user, a node of a cluster."`
}

// A clusterInitCmd begins a cluster.
type clusterInitCmd struct {
	dirFlag
	Name string `default:"millrace" placeholder:"NAME" help:"Name of the cluster (default ${default})."`
	Node string `placeholder:"NAME" help:"Name of this node (default: that of the machine)."`
	onceFlag
}

// A onceFlag is for what starts a machine each time.
type onceFlag struct {
	Once bool `help:"Do nothing if this machine is a node already."`
}

// printNode prints which node this machine is.
func printNode(w io.Writer, h *home.Home) error {
	_, err := fmt.Fprintf(w, "cluster      %s\nnode         %v\nfingerprint  %s\nexpires      %s\n", h.Identity.Cluster, h.Identity, h.Identity.Fingerprint(),
		h.Identity.Expires.UTC().Format(time.DateOnly))
	if err == nil && len(h.Servers) > 0 {
		_, err = fmt.Fprintf(w, "servers      %s\n", strings.Join(h.Servers, " "))
	}
	return err
}

// is returns the node that this machine is, if that is enough.
func (f *onceFlag) is(dir string) (*home.Home, error) {
	if !f.Once {
		return nil, nil
	}
	h, err := home.Open(dir)
	if errors.Is(err, home.ErrNone) {
		return nil, nil
	}
	return h, err
}

func (c *clusterInitCmd) Help() string {
	return `Makes the cluster's authority, which signs the certificates of all its nodes, and this machine the first coordinator.
Keep a copy of DIR/authority in a safe place: whoever has it can make nodes, and without it no node can be added.

The first "millrace serve" on this machine prepares the cluster's engine.

  millrace cluster init --name mail
  millrace serve --address 10.0.0.1
  millrace cluster token agent node-1`
}

func (c *clusterInitCmd) Run(a *app) error {
	if h, err := c.is(c.Dir); h != nil || err != nil {
		if err != nil {
			return err
		}
		return printNode(a.stdout, h)
	}
	node := c.Node
	if node == "" {
		var err error
		if node, err = machine(); err != nil {
			return err
		}
	}
	h, err := home.Begin(c.Dir, c.Name, node)
	if err != nil {
		return err
	}
	return printNode(a.stdout, h)
}

// machine returns the name of this machine, as one of a node.
func machine() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, name)
	return cut(name, 63), nil
}

// A clusterTokenCmd makes a token.
type clusterTokenCmd struct {
	Role string `arg:"" enum:"agent,coordinator,client" help:"What the node will be: ${enum}."`
	Node string `arg:"" help:"Name of the node: letters, digits, - and _."`
	dirFlag
	For time.Duration `default:"24h" placeholder:"TIME" help:"How long it can be used (default ${default}, at most 168h)."`
}

func (c *clusterTokenCmd) Help() string {
	return `Prints a secret: whoever has it can join as that node, once. It is made where the cluster has begun.

  millrace cluster token agent node-1`
}

func (c *clusterTokenCmd) Run(a *app) error {
	h, err := home.Open(c.Dir)
	if err != nil {
		return err
	}
	authority, err := h.Authority()
	if err != nil {
		return err
	}
	if authority == nil {
		return fmt.Errorf("%s: %v has no authority: tokens are made where the cluster has begun", c.Dir, h.Identity)
	}
	token, err := authority.Token(identity.Role(c.Role), c.Node, c.For)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, token)
	return err
}

// A clusterJoinCmd joins a cluster.
type clusterJoinCmd struct {
	Server string `arg:"" help:"Where the cluster has begun: HOST or HOST:PORT."`
	Token  string `arg:"" optional:"" help:"The token; read from standard input unless given."`
	dirFlag
	TokenFile string `xor:"token" placeholder:"FILE" help:"Read the token from FILE."`
	Replace   bool   `help:"Replace the node that is here, as when its certificate has expired."`
	onceFlag
}

func (c *clusterJoinCmd) Help() string {
	return `Gets this machine a certificate, by a token that "millrace cluster token" has printed there.

  ssh server millrace cluster token agent node-1 | millrace cluster join server
  millrace cluster join --dir ~/.millrace server TOKEN`
}

func (c *clusterJoinCmd) Run(a *app) error {
	if h, err := c.is(c.Dir); h != nil || err != nil {
		if err != nil {
			return err
		}
		return printNode(a.stdout, h)
	}
	address, err := at(c.Server, "", joinPort)
	if err != nil {
		return err
	}
	token, err := c.token(a.stdin)
	if err != nil {
		return err
	}
	h, err := home.Join(a.ctx, address, token, c.Dir, c.Replace)
	if err != nil {
		return err
	}
	return printNode(a.stdout, h)
}

// token returns the token as it was given, or else reads it.
func (c *clusterJoinCmd) token(stdin io.Reader) (string, error) {
	switch {
	case c.Token != "" && c.TokenFile != "":
		return "", errors.New("a token, and --token-file: one of them")
	case c.Token != "":
		return c.Token, nil
	}
	where, from := "standard input", stdin
	if c.TokenFile != "" {
		f, err := os.Open(c.TokenFile)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.TokenFile, cause(err))
		}
		defer f.Close()
		where, from = c.TokenFile, f
	}
	line, err := bufio.NewReader(io.LimitReader(from, 4096)).ReadString('\n')
	if line = strings.TrimSpace(line); line != "" {
		return line, nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("%s: %w", where, err)
	}
	return "", fmt.Errorf("no token on %s", where)
}
