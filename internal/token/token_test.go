package token

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

func TestGroupedForm(t *testing.T) {
	for _, c := range []struct {
		groups, size int
		want         string
	}{
		{2, 5, `^[a-z2-7]{5}-[a-z2-7]{5}$`},
		{4, 4, `^[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}$`},
	} {
		got, err := Grouped(nil, c.groups, c.size)
		if err != nil || !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("Grouped(%d, %d) = %q, %v; want %s", c.groups, c.size, got, err, c.want)
		}
	}
}

func TestBase32UsesEveryBit(t *testing.T) {
	zeros, _ := Base32(bytes.NewReader(make([]byte, 10)), 16)
	ones, _ := Base32(bytes.NewReader(bytes.Repeat([]byte{0xff}, 10)), 16)
	if zeros != strings.Repeat("a", 16) || ones != strings.Repeat("7", 16) {
		t.Errorf("got %q and %q", zeros, ones)
	}
}

func TestShortRandomnessIsAnError(t *testing.T) {
	if _, err := Base32(bytes.NewReader(make([]byte, 9)), 16); err == nil {
		t.Error("no error from a source that is too short")
	}
}

func TestHashSeparatesItsParts(t *testing.T) {
	key := []byte("key")
	if Hash(key, "ab", "c") == Hash(key, "a", "bc") {
		t.Error("lists of parts with the same concatenation have the same hash")
	}
	if Hash(key, "a") == Hash([]byte("other"), "a") {
		t.Error("hashes don't depend on the key")
	}
	if !Equal(Hash(key, "a"), Hash(key, "a")) || Equal(Hash(key, "a"), Hash(key, "b")) {
		t.Error("Equal is wrong")
	}
}
