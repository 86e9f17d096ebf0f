package sandbox

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// namespaceError explains why there are no namespaces, as well as /proc lets us know.
func namespaceError(err error) error {
	return &LayerError{Layer: UserNS, Cause: err, Fix: namespaceFix(err, readSetting)}
}

// readSetting returns a kernel setting below /proc/sys, "" if there is none of that name.
func readSetting(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func namespaceFix(err error, setting func(string) string) string {
	switch {
	case setting("user/max_user_namespaces") == "0":
		return "sysctl user.max_user_namespaces=10000"
	case setting("kernel/unprivileged_userns_clone") == "0":
		return "sysctl kernel.unprivileged_userns_clone=1"
	case setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "AppArmor forbids user namespaces: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give millrace a profile with \"userns,\""
	case errors.Is(err, unix.ENOSPC):
		return "too many namespaces: raise user.max_user_namespaces and its kin"
	}
	return "in a container, its seccomp profile must allow user namespaces: docker run --security-opt seccomp=PROFILE, in Kubernetes hostUsers: false or a Localhost profile"
}

func seccompError(err error) error {
	return &LayerError{Layer: Seccomp, Cause: err, Fix: "run a kernel with CONFIG_SECCOMP_FILTER"}
}
