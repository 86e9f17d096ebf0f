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
	_, err = fmt.Fprintf(a.stdout, "cluster      %s\nnode         %v\nauthority    %s\nfingerprint  %s\n", h.Identity.Cluster, h.Identity, h.Dir+"/authority", h.Identity.Fingerprint())
	return err
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
	Replace bool `help:"Replace the node that is here, as when its certificate has expired."`
}

func (c *clusterJoinCmd) Help() string {
	return `Gets this machine a certificate, by a token that "millrace cluster token" has printed there.

  ssh server millrace cluster token agent node-1 | millrace cluster join server
  millrace cluster join --dir ~/.millrace server TOKEN`
}

func (c *clusterJoinCmd) Run(a *app) error {
	address, err := at(c.Server, "", joinPort)
	if err != nil {
		return err
	}
	token := c.Token
	if token == "" {
		line, err := bufio.NewReader(io.LimitReader(a.stdin, 4096)).ReadString('\n')
		if token = strings.TrimSpace(line); token == "" {
			return errors.Join(errors.New("no token on standard input"), notEOF(err))
		}
	}
	h, err := home.Join(a.ctx, address, token, c.Dir, c.Replace)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "cluster  %s\nnode     %v\nservers  %s\nexpires  %s\n", h.Identity.Cluster, h.Identity, strings.Join(h.Servers, " "),
		h.Identity.Expires.UTC().Format(time.DateOnly))
	return err
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
