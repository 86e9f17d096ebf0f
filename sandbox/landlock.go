package sandbox

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Access rights of Landlock, see landlock(7). Later versions of its ABI know more of them; a right that a kernel does not know cannot be
// taken away by it, so version 1 to 3 leave more to seccomp and to the namespaces.
const (
	rightsRead = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	rightsRun  = rightsRead | unix.LANDLOCK_ACCESS_FS_EXECUTE
	rightsWork = rightsRun | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	rightsDevice = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
	rightsFile   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV // those that a rule on a file may hold

	rightsVersion1 = 1<<13 - 1
)

// A landlockRule gives rights on a file, or on a directory and what is below it.
type landlockRule struct {
	path   string // if empty, fd is meant
	fd     int
	rights uint64
}

// landlockABI returns the version of Landlock's ABI, which is 1 at least.
func landlockABI() (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// landlockAll returns everything that version abi can forbid.
func landlockAll(abi int) unix.LandlockRulesetAttr {
	a := unix.LandlockRulesetAttr{Handled_access_fs: rightsVersion1}
	if abi >= 2 {
		a.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		a.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 {
		a.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if abi >= 5 {
		a.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		a.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return a
}

// restrict forbids threads, and all that they start, everything that Landlock can forbid but what rules give, for good.
// Rules for paths that do not exist are passed over.
func restrict(on threads, rules []landlockRule) error {
	abi, err := landlockABI()
	if err != nil {
		return err
	}
	attr := landlockAll(abi)
	// Old kernels refuse sizes beyond the fields they know, unless those are zero.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	defer unix.Close(int(fd))
	for _, rule := range rules {
		if err := allowPath(int(fd), rule, attr.Handled_access_fs); err != nil {
			return err
		}
	}
	if err := on(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); err != nil {
		return fmt.Errorf("landlock_restrict_self: %w", err)
	}
	return nil
}

func allowPath(ruleset int, rule landlockRule, known uint64) error {
	fd := rule.fd
	if rule.path != "" {
		var err error
		fd, err = unix.Open(rule.path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		if err != nil {
			return &os.PathError{Op: "open", Path: rule.path, Err: err}
		}
		defer unix.Close(fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: rule.path, Err: err}
	}
	rights := rule.rights & known
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= rightsFile
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return &os.PathError{Op: "landlock", Path: rule.path, Err: errno}
	}
	return nil
}

func landlockError(err error) error {
	fix := "boot a kernel of 5.13 or later with landlock in its list of security modules: lsm=landlock,… on its command line"
	if errors.Is(err, unix.EPERM) {
		fix = "let the container's seccomp profile allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self"
	}
	return &LayerError{Layer: Landlock, Cause: err, Fix: fix}
}
