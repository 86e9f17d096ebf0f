// Package check holds the deployment files to what Kubernetes and systemd make of them. It is a module of its own: millrace needs nothing of theirs.
package check

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// objects returns the objects of a file. A field that Kubernetes does not know, a value of another type, or a field given twice is an error.
func objects(name string) (all []runtime.Object, err error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	strict := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	for r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		o, _, err := strict.Decode(doc, nil, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
}

// A workload is what starts pods.
type workload struct {
	name     string
	selector *metav1.LabelSelector
	pod      corev1.PodTemplateSpec
	claims   []string
	service  string
}

// read returns the workloads and services of a file.
func read(t *testing.T, name string) (all []workload, services map[string]*corev1.Service) {
	t.Helper()
	found, err := objects(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	services = map[string]*corev1.Service{}
	for _, o := range found {
		switch o := o.(type) {
		case *appsv1.StatefulSet:
			w := workload{name: o.Name, selector: o.Spec.Selector, pod: o.Spec.Template, service: o.Spec.ServiceName}
			for _, c := range o.Spec.VolumeClaimTemplates {
				w.claims = append(w.claims, c.Name)
			}
			all = append(all, w)
		case *appsv1.DaemonSet:
			all = append(all, workload{name: o.Name, selector: o.Spec.Selector, pod: o.Spec.Template})
		case *corev1.Service:
			services[o.Name] = o
		}
	}
	return all, services
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../kubernetes/millrace.yaml", "../kubernetes/nats.yaml"} {
		workloads, services := read(t, name)
		if len(workloads) == 0 {
			t.Errorf("%s: no workloads", name)
		}
		for _, w := range workloads {
			pod := labels.Set(w.pod.Labels)
			if s, err := metav1.LabelSelectorAsSelector(w.selector); err != nil || !s.Matches(pod) {
				t.Errorf("%s does not select its own pods (%v)", w.name, err)
			}
			if w.service != "" {
				s := services[w.service]
				if s == nil || !labels.SelectorFromSet(s.Spec.Selector).Matches(pod) {
					t.Errorf("%s: service %s does not find its pods", w.name, w.service)
				}
			}
			volumes := slices.Clone(w.claims)
			for _, v := range w.pod.Spec.Volumes {
				volumes = append(volumes, v.Name)
				if h := v.HostPath; h != nil && strings.HasPrefix(h.Path, "/srv") {
					readOnly(t, &w, v.Name)
				}
			}
			for _, c := range append(slices.Clone(w.pod.Spec.InitContainers), w.pod.Spec.Containers...) {
				for _, m := range c.VolumeMounts {
					if !slices.Contains(volumes, m.Name) {
						t.Errorf("%s, container %s: there is no volume %s", w.name, c.Name, m.Name)
					}
				}
				for _, p := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe} {
					if p != nil {
						probed(t, w.name, &c, p)
					}
				}
			}
			agent := w.pod.Labels["app.kubernetes.io/component"] == "agent"
			for _, c := range w.pod.Spec.Containers {
				s := c.SecurityContext
				if privileged := s != nil && s.Privileged != nil && *s.Privileged; privileged != agent {
					t.Errorf("%s: privileged is %v: agents are, and nothing else", w.name, privileged)
				}
			}
		}
	}
}

// readOnly checks that nobody in the pod can write a volume.
func readOnly(t *testing.T, w *workload, volume string) {
	t.Helper()
	for _, c := range w.pod.Spec.Containers {
		for _, m := range c.VolumeMounts {
			if m.Name == volume && !m.ReadOnly {
				t.Errorf("%s: the devices are mounted to be written", w.name)
			}
		}
	}
}

// probed checks that a probe asks at a port that the container has.
func probed(t *testing.T, workload string, c *corev1.Container, p *corev1.Probe) {
	t.Helper()
	var want string
	switch {
	case p.HTTPGet != nil:
		want = p.HTTPGet.Port.StrVal
	case p.TCPSocket != nil:
		want = p.TCPSocket.Port.StrVal
	}
	if !slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == want && want != "" }) {
		t.Errorf("%s, container %s: it is probed at port %q, which it has not", workload, c.Name, want)
	}
}

// TestStrict makes sure that a misspelt field would be found.
func TestStrict(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../kubernetes/millrace.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for old, bad := range map[string]string{"hostNetwork: true": "hostNetwrok: true", "replicas: 2": "replicas: two", "privileged: true": "privileged: true\n            privileged: false"} {
		name := t.TempDir() + "/bad.yaml"
		changed := strings.Replace(string(text), old, bad, 1)
		if err := os.WriteFile(name, []byte(changed), 0o600); err != nil || changed == string(text) {
			t.Fatalf("%q: nothing changed, %v", old, err)
		}
		if _, err := objects(name); err == nil {
			t.Errorf("%s was not found", bad)
		}
	}
}
