package swifttest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The ports of every node; nodes differ in their addresses.
const (
	proxyPort     = 8080
	objectPort    = 6200
	containerPort = 6201
	accountPort   = 6202
	memcachePort  = 11211
)

// HashPrefix and HashSuffix are what the Swift puts before and after the names that it hashes.
const (
	HashPrefix = "before"
	HashSuffix = "after"
)

// A layout is what serve.py is told.
type layout struct {
	Etc       string   `json:"etc"`
	Memcached []string `json:"memcached"`
	Rings     []ring   `json:"rings"`
	Servers   []server `json:"servers"`
}

type ring struct {
	Name     string   `json:"name"`
	Power    int      `json:"power"`
	Replicas float64  `json:"replicas"`
	Devices  []device `json:"devices"`
}

type device struct {
	ID     int     `json:"id"`
	Region int     `json:"region"`
	Zone   int     `json:"zone"`
	IP     string  `json:"ip"`
	Port   int     `json:"port"`
	Device string  `json:"device"`
	Weight float64 `json:"weight"`
}

type server struct {
	Name string `json:"name"`
	Conf string `json:"conf"`
}

// write makes the configuration of c below its directory and returns the name of the layout's file.
func (c *Cluster) write() (string, error) {
	etc := filepath.Join(c.Dir, "etc")
	l := layout{
		Etc:       etc,
		Memcached: []string{"memcached", "-l", c.Nodes[0], "-p", fmt.Sprint(memcachePort), "-m", "16", "-u", c.user, "-U", "0"},
	}
	files := map[string]string{"etc/swift.conf": c.swiftConf()}
	for _, r := range []struct {
		name string
		port int
	}{{"account", accountPort}, {"container", containerPort}, {"object", objectPort}} {
		l.Rings = append(l.Rings, c.ring(r.name, r.port, float64(min(3, len(c.Nodes)))))
		for i, ip := range c.Nodes {
			name := fmt.Sprintf("%s-%d.conf", r.name, i)
			files["etc/"+name] = c.storageConf(r.name, ip, r.port, i)
			l.Servers = append(l.Servers, server{Name: r.name + "-server", Conf: filepath.Join(etc, name)})
		}
	}
	for _, p := range c.opts.Policies {
		r := c.ring(fmt.Sprintf("object-%d", p.Index), objectPort, p.Replicas)
		if p.Elsewhere > 0 {
			r.Devices = nil
		}
		for i := range p.Elsewhere {
			ip := fmt.Sprintf("192.0.2.%d", i+1) // an address for documentation
			r.Devices = append(r.Devices, device{ID: i, Region: 1, Zone: i + 1, IP: ip, Port: objectPort, Device: "d1", Weight: 1})
		}
		l.Rings = append(l.Rings, r)
	}
	files["etc/proxy-0.conf"] = c.proxyConf()
	l.Servers = append(l.Servers, server{Name: "proxy-server", Conf: filepath.Join(etc, "proxy-0.conf")})

	text, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	files["layout.json"], files["serve.py"] = string(text), serve
	for i := range c.Nodes {
		if err := os.MkdirAll(filepath.Join(c.Devices(i), "d1"), 0o755); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return "", err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return filepath.Join(c.Dir, "layout.json"), nil
}

func (c *Cluster) ring(name string, port int, replicas float64) ring {
	r := ring{Name: name, Power: 6, Replicas: replicas}
	for i, ip := range c.Nodes {
		r.Devices = append(r.Devices, device{ID: i, Region: 1, Zone: i + 1, IP: ip, Port: port, Device: "d1", Weight: 1})
	}
	return r
}

func (c *Cluster) swiftConf() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[swift-hash]\nswift_hash_path_prefix = %s\nswift_hash_path_suffix = %s\n", HashPrefix, HashSuffix)
	b.WriteString("[storage-policy:0]\nname = zero\ndefault = yes\n")
	for _, p := range c.opts.Policies {
		fmt.Fprintf(&b, "[storage-policy:%d]\nname = %s\n", p.Index, p.Name)
	}
	return b.String()
}

// storageConf makes a server wait long for a busy machine, rather than leave work for daemons that do not run here.
func (c *Cluster) storageConf(name, ip string, port, node int) string {
	return fmt.Sprintf(`[DEFAULT]
bind_ip = %s
bind_port = %d
workers = 0
user = %s
swift_dir = %s/etc
devices = %s
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
log_level = ERROR
log_address = /nonexistent
container_update_timeout = 60
node_timeout = 60
conn_timeout = 30
[pipeline:main]
pipeline = healthcheck %[6]s-server
[filter:healthcheck]
use = egg:swift#healthcheck
[app:%[6]s-server]
use = egg:swift#%[6]s
`, ip, port, c.user, c.Dir, c.Devices(node), name)
}

func (c *Cluster) proxyConf() string {
	return fmt.Sprintf(`[DEFAULT]
bind_ip = %[1]s
bind_port = %[2]d
workers = 0
user = %[3]s
swift_dir = %[4]s/etc
log_level = ERROR
log_address = /nonexistent
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats list-endpoints s3api tempauth copy dlo slo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
use = egg:swift#memcache
memcache_servers = %[1]s:%[5]d
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:list-endpoints]
use = egg:swift#list_endpoints
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_%[6]s_%[7]s = %[8]s .admin
[filter:copy]
use = egg:swift#copy
[filter:dlo]
use = egg:swift#dlo
[filter:slo]
use = egg:swift#slo
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
node_timeout = 60
recoverable_node_timeout = 60
error_suppression_limit = 1000000
conn_timeout = 30
`, c.Nodes[0], proxyPort, c.user, c.Dir, memcachePort, account, userName, c.Key)
}
