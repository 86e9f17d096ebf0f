// Package mailgen makes mail: as much as wanted, quickly, and the same mail again for the same seed. Every mail is a function
// of the seed and its number alone, so that ranges can be made in parallel, on several machines, or one mail at a time.
//
// What is in a mail is counted while it is made, not by reading it again: a Truth says what a job over the mail must find.
//
// Of a thousand mails, with the default options, about
//
//	420 are plain text, 60 of them 8-bit (half ISO-8859-1, half UTF-8)
//	100 are plain text in quoted-printable
//	300 are multipart/alternative, text and HTML
//	175 are multipart/mixed, text and an attachment in base64
//	  5 are odd: a third each has an empty body, one huge line (16 to 64 KiB), a binary body with NULs
//	 80 have a subject in encoded words, 60 a sender's name in one
//	500 end their lines in CRLF, the others in LF
//	 20 hold one line, or up to three, with the planted phrase "invoice NNNN"
//
// Words, senders and domains are drawn by Zipf's law; the size is log-normal with a mean of 3.5 KB. The phrase
// "invoice" followed by a space and digits stands nowhere but where it was planted, and lower case at that.
package mailgen
