package server

import (
	"errors"
	"io"
	"os"
)

// A spool keeps bytes that are shown later: in memory, and beyond spoolMemory in a file that has no name.
type spool struct {
	buf  []byte
	file *os.File
}

const spoolMemory = 1 << 20

func (s *spool) write(p []byte) error {
	s.buf = append(s.buf, p...)
	if len(s.buf) <= spoolMemory {
		return nil
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "millrace-")
		if err != nil {
			return err
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	_, err := s.file.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// drain passes everything on, in order, and is empty then.
func (s *spool) drain(show func([]byte) error) error {
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		b := make([]byte, spoolMemory)
		for {
			n, err := s.file.Read(b)
			if n > 0 {
				if err := show(b[:n]); err != nil {
					return err
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	rest := s.buf
	s.buf = nil
	var err error
	if len(rest) > 0 {
		err = show(rest)
	}
	return errors.Join(err, s.close())
}

func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	f := s.file
	s.file = nil
	return f.Close()
}
