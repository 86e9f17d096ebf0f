package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// systemDirs are what a native guest sees of the machine: its programs and libraries, read-only, and the links by which Debian
// chooses among programs: awk is one.
var systemDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives"}

// maxProgram bounds the program of a native guest.
const maxProgram = 512 << 20

// devices are what a native guest sees of /dev.
var devices = []string{"/dev/null", "/dev/zero", "/dev/urandom"}

// buildRoot replaces the file system of this mount namespace by an empty read-only one. For native guests there are the system's
// programs, three devices, a work directory and one for the guest's program in it; for a millrace that was linked dynamically, the
// system's libraries.
func buildRoot(p *plan) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	root, err := mountPoint()
	if err != nil {
		return err
	}
	const safe = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("root", root, "tmpfs", safe|unix.MS_NOEXEC, "size=64k,nr_inodes=64,mode=755"); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	if p.Native || p.Dynamic {
		for _, dir := range systemDirs {
			if err := showDir(dir, root); err != nil {
				return err
			}
		}
	}
	if p.Native {
		if err := furnish(root, p); err != nil {
			return err
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|safe|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("make root read-only: %w", err)
	}
	return os.Chdir("/")
}

// mountPoint returns a directory to mount the new root on.
func mountPoint() (string, error) {
	for _, dir := range []string{"/tmp", "/run", "/var", "/proc"} {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", errors.New("no directory to mount a root on")
}

func furnish(root string, p *plan) error {
	if err := os.Mkdir(filepath.Join(root, "dev"), 0o755); err != nil {
		return err
	}
	for _, dev := range devices {
		if err := showDevice(dev, root); err != nil {
			return err
		}
	}
	if len(p.Channels) > 0 {
		if err := makePipes(root, p.Channels); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		dir, options string
	}{
		{p.Work, fmt.Sprintf("size=%d,nr_inodes=%d,mode=755,uid=%d,gid=%d", p.WorkBytes, p.WorkFiles, p.Guest, p.Guest)},
		{p.Program, fmt.Sprintf("size=%d,nr_inodes=16,mode=755", maxProgram+1<<20)},
	} {
		to := filepath.Join(root, m.dir)
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", to, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	return nil
}

// showDir makes a directory of the machine visible below root, read-only with all that is mounted in it. A symbolic link, as /bin is
// one on many systems, is copied.
func showDir(dir, root string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	to := filepath.Join(root, dir)
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(dir)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(dir, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", dir, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(unix.AT_FDCWD, to, unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("make %s read-only: %w", dir, err)
	}
	return nil
}

func showDevice(dev, root string) error {
	to := filepath.Join(root, dev)
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := unix.Mount(dev, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", dev, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(unix.AT_FDCWD, to, 0, &attr); err != nil {
		return fmt.Errorf("%s: %w", dev, err)
	}
	return nil
}
