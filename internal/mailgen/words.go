package mailgen

import (
	"strings"
	"sync"
)

// The most frequent words come first. Digits stand in none of them.
const common = `the to and of a in is for you that it we on with be this have are as your will from at not our or please if can by
I an was all has me but my they me so any been would there more about no which new time also when do what up one just out
know see over them their here need only us get other like may than into some these how could meeting project work team today
report week update attached thanks regards order price market company energy power contract agreement data system number change
account invoice payment customer service request review question information business office email call send letter schedule
deal trading gas natural delivery volume west east north south monday tuesday wednesday thursday friday january february march`

var (
	given = strings.Fields(`James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan Joseph
Jessica Thomas Sarah Karen Charles Lisa Daniel Nancy Matthew Betty Anthony Sandra Mark Ashley Donald Kim Jürgen Zoë Łukasz`)
	family = strings.Fields(`Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez Wilson
Anderson Thomas Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis Robinson Müller Nowak`)
	// letters beyond ASCII that both ISO-8859-1 and UTF-8 have, as both.
	latin = []string{"\xe9t\xe9", "f\xfcr", "gr\xfc\xdfe", "ni\xf1o", "caf\xe9", "\xfcber", "na\xefve", "stra\xdfe"}
	utf8s = []string{"été", "für", "grüße", "niño", "café", "über", "日本語", "привет", "€", "naïve", "—", "“so”"}
	// the same in quoted-printable
	quoted = []string{"=C3=A9t=C3=A9", "f=C3=BCr", "caf=C3=A9", "=E2=82=AC", "a=3Db", "na=C3=AFve"}

	vocabulary = sync.OnceValue(makeVocabulary)
)

// makeVocabulary returns the common words and 6,000 made of syllables.
func makeVocabulary() []string {
	words := strings.Fields(common)
	seen := make(map[string]bool, 7000)
	for _, w := range words {
		seen[w] = true
	}
	r := rand{state: 1}
	for len(words) < 6200 {
		w := syllables(&r)
		if !seen[w] {
			seen[w] = true
			words = append(words, w)
		}
	}
	return words
}

// domainNames returns n distinct domains, the most frequent first.
func domainNames(n int) []string {
	names := []string{"acme.com", "example.org", "mail.example.com"}
	seen := map[string]bool{"acme.com": true}
	zones := []string{"com", "com", "org", "net", "de", "co.uk", "io"}
	r := rand{state: 2}
	for len(names) < n {
		d := syllables(&r) + "." + zones[r.n(len(zones))]
		if !seen[d] {
			seen[d] = true
			names = append(names, d)
		}
	}
	return names[:n]
}

// syllables makes up a word of two to four syllables.
func syllables(r *rand) string {
	onset := []string{"b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr", "pr", "ch", "sh"}
	rhyme := []string{"a", "e", "i", "o", "u", "an", "er", "in", "on", "al", "ent", "ing", "ation", "ive", "ess", "ard"}
	var w strings.Builder
	for range 2 + r.n(3) {
		w.WriteString(onset[r.n(len(onset))])
		w.WriteString(rhyme[r.n(len(rhyme))])
	}
	return w.String()
}
