package guest

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	float := func(f float64) []byte {
		p, err := AppendFloat(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	tests := []struct {
		typ        Type
		enc        []byte
		text, json string
	}{
		{String, []byte("a\tb\nc\rd\\e\"f"), `a\tb\nc\rd\\e"f`, `"a\tb\nc\rd\\e\"f"`},
		{String, nil, ``, `""`},
		{Bytes, []byte("\x00\xffé\u2028"), "\x00\xffé\u2028", `"\u0000` + "\uFFFDé" + `\u2028"`},
		{Int, AppendInt(nil, math.MinInt64), "-9223372036854775808", "-9223372036854775808"},
		{Uint, AppendUint(nil, math.MaxUint64), "18446744073709551615", "18446744073709551615"},
		{Float, float(0.1), "0.1", "0.1"},
		{Float, float(1e21), "1e+21", "1e+21"},
		{Float, float(math.Inf(-1)), "-Inf", `"-Inf"`},
		{Bool, []byte{1}, "true", "true"},
		{Binary, []byte{1, 2, 3, 0xff}, "AQID/w==", `"AQID/w=="`},
		{JSON, []byte("{\"a\":\n\t\"\\n\"}"), `{"a":  "\n"}`, `{"a":  "\n"}`},
		{Int, []byte("short"), "short", `"short"`}, // a lie stays readable
		{Bool, []byte{7}, "\x07", `"\u0007"`},
	}
	for _, tt := range tests {
		if got := string(Text([]byte("x"), tt.typ, tt.enc)); got != "x"+tt.text {
			t.Errorf("Text of %v %q: got %q, want %q", tt.typ, tt.enc, got, "x"+tt.text)
		}
		got := AppendJSON([]byte("x"), tt.typ, tt.enc)
		if string(got) != "x"+tt.json || !json.Valid(got[1:]) {
			t.Errorf("JSON of %v %q: got %s, want %s", tt.typ, tt.enc, got, "x"+tt.json)
		}
	}
}

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		`a\tb\nc\rd\\e`: "a\tb\nc\rd\\e",
		`\x\`:           `\x\`,
		`\\t`:           `\t`,
		``:              ``,
	} {
		if got := string(AppendUnescaped([]byte("x"), []byte(text))); got != "x"+want {
			t.Errorf("%q: got %q, want %q", text, got, "x"+want)
		}
	}
}

func TestParseText(t *testing.T) {
	tests := []struct {
		typ        Type
		text, want string // want as text
	}{
		{Int, "-12", "-12"},
		{Uint, "12", "12"},
		{Float, "1e3", "1000"},
		{Bool, "false", "false"},
		{String, `a\tb`, `a\\tb`},
	}
	for _, tt := range tests {
		p, err := ParseText([]byte("x"), tt.typ, []byte(tt.text))
		if got := string(Text(nil, tt.typ, p[1:])); err != nil || got != tt.want {
			t.Errorf("%v %q: got %q, %v; want %q", tt.typ, tt.text, got, err, tt.want)
		}
	}
	for typ, text := range map[Type]string{Int: "1.5", Uint: "-1", Float: "secret", Bool: "1"} {
		if _, err := ParseText(nil, typ, []byte(text)); err == nil || strings.Contains(err.Error(), text) {
			t.Errorf("%v %q: got %v", typ, text, err)
		}
	}
}

func TestTypes(t *testing.T) {
	for typ := String; typ <= JSON; typ++ {
		if got, ok := ParseType(typ.String()); !ok || got != typ {
			t.Errorf("%v is parsed as %v, %v", typ, got, ok)
		}
	}
	if _, ok := ParseType("unknown"); ok || Type(200).String() != "unknown" {
		t.Error("an unknown type is known")
	}
}

func FuzzText(f *testing.F) {
	f.Add(byte(String), []byte("a\tb\\\xff\u2029\x7f"))
	f.Add(byte(Float), AppendUint(nil, 1<<62))
	f.Fuzz(func(t *testing.T, typ byte, enc []byte) {
		text := Text(nil, Type(typ), enc)
		if bytes.ContainsAny(text, "\t\n\r") {
			t.Errorf("text of more than one field or line: %q", text)
		}
		if Type(typ) <= Bytes {
			if back := AppendUnescaped(nil, text); !bytes.Equal(back, enc) {
				t.Errorf("%q is escaped as %q, which is %q", enc, text, back)
			}
		}
		if Type(typ) == JSON { // as valid as what came
			return
		}
		j := AppendJSON(nil, Type(typ), enc)
		var v any
		if err := json.Unmarshal(j, &v); err != nil {
			t.Errorf("%q: %s: %v", enc, j, err)
		}
		if s, ok := v.(string); ok && Type(typ) == String && utf8.Valid(enc) && s != string(enc) {
			t.Errorf("%q is %s in JSON", enc, j)
		}
		for typ := String; typ <= JSON; typ++ {
			if p, err := ParseText(nil, typ, enc); err == nil && typ < Bool && typ > Bytes {
				if again, err := ParseText(nil, typ, Text(nil, typ, p)); err != nil || !bytes.Equal(again, p) {
					t.Errorf("%v %q: %x, then %x, %v", typ, enc, p, again, err)
				}
			}
		}
	})
}
