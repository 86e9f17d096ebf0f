package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/millrace/millrace/internal/cluster"
	"github.com/millrace/millrace/internal/server"
)

// A nodeFlag says of which cluster something is to be told, on one of its machines too.
type nodeFlag struct {
	Cluster string `aliases:"dir" env:"MILLRACE_CLUSTER,MILLRACE_DIR" default:"/var/lib/millrace" placeholder:"DIR" help:"The cluster that has this machine or user as a node, by the node's directory (default ${default})."`
}

func (f *nodeFlag) with(a *app, do func(*connection) error) error {
	return (&clusterFlag{f.Cluster}).with(a, do)
}

// A clusterStatusCmd says how the cluster is.
type clusterStatusCmd struct {
	nodeFlag
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *clusterStatusCmd) Run(a *app) error {
	return c.with(a, func(k *connection) error {
		o, err := k.Nodes(a.ctx)
		if err != nil {
			return told(err)
		}
		o.Cluster = k.home.Identity.Cluster
		if c.JSON {
			enc := json.NewEncoder(a.stdout)
			enc.SetIndent("", "  ")
			return enc.Encode(struct {
				server.Overview
				Servers []string `json:"servers"`
			}{o, k.home.Servers})
		}
		fmt.Fprintf(a.stdout, "cluster  %s\nservers  %s\nleader   %s, epoch %d\nversion  %s\n", o.Cluster, strings.Join(k.home.Servers, " "), o.Leader, o.Epoch, o.Version)
		return printNodes(a.stdout, &o)
	})
}

// printNodes prints a table of the members.
func printNodes(out io.Writer, o *server.Overview) error {
	if len(o.Nodes) == 0 {
		_, err := fmt.Fprintln(out, "nodes    none: is \"millrace agent\" running anywhere?")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSLOTS\tMEMORY\tENGINES\tLABELS\tSTATE")
	for _, n := range o.Nodes {
		fmt.Fprintf(w, "%s\t%d/%d\t%s\t%s\t%s\t%s\n", n.Node, o.Busy[n.Node], n.Slots, bytes(n.Memory), strings.Join(n.Engines, ","), labels(n.Labels), standing(&n))
	}
	return w.Flush()
}

// standing says whether a node gets work, and why not.
func standing(n *cluster.Present) string {
	switch {
	case n.Quarantined != "":
		return visible("in quarantine: " + n.Quarantined)
	case n.Draining:
		return "draining"
	}
	return "works"
}

func labels(l map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(l)) {
		all = append(all, k+"="+l[k])
	}
	return visible(strings.Join(all, ","))
}

// A clusterQuarantineCmd keeps work from a node.
type clusterQuarantineCmd struct {
	Node   string   `arg:"" help:"Name of the node."`
	Reason []string `arg:"" help:"Why, for people."`
	nodeFlag
}

func (c *clusterQuarantineCmd) Run(a *app) error {
	return c.with(a, func(k *connection) error { return told(k.Quarantine(a.ctx, c.Node, strings.Join(c.Reason, " "))) })
}

// A clusterReleaseCmd ends that.
type clusterReleaseCmd struct {
	Node string `arg:"" help:"Name of the node."`
	nodeFlag
}

func (c *clusterReleaseCmd) Run(a *app) error {
	return c.with(a, func(k *connection) error { return told(k.Release(a.ctx, c.Node)) })
}
