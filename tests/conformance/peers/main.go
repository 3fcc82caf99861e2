// Reads and cosigns checkpoints with other people's libraries:
// golang.org/x/mod/sumdb/note and github.com/transparency-dev/formats/note.
//
//	verify LOG_VKEY WITNESS_VKEY…   the note on stdin, every key must have signed it
//	cosign NAME                     the note on stdin; prints its vkey, an empty line, and the note cosigned
//	mldsa NAME                      the same with ML-DSA-44
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	log.SetFlags(0)
	text, err := io.ReadAll(os.Stdin)
	check(err)
	switch os.Args[1] {
	case "verify":
		verify(text, os.Args[2], os.Args[3:])
	case "cosign":
		// A cosigner's key is an Ed25519 key of this library under another algorithm number.
		skey, vkey, err := note.GenerateKey(rand.Reader, os.Args[2])
		check(err)
		signer, err := formats.NewSignerForCosignatureV1(skey)
		check(err)
		cosign(text, signer)
		cosigner, err := formats.VKeyToCosignatureV1(vkey)
		check(err)
		fmt.Printf("%s\n", cosigner)
	case "mldsa":
		skey, vkey, err := formats.GenerateMLDSAKey(os.Args[2])
		check(err)
		signer, err := formats.NewMLDSASigner(skey)
		check(err)
		cosign(text, signer)
		fmt.Printf("%s\n", vkey)
	}
}

func verify(text []byte, origin string, witnesses []string) {
	verifiers := []note.Verifier{}
	ours, err := note.NewVerifier(origin)
	check(err)
	verifiers = append(verifiers, ours)
	for _, vkey := range witnesses {
		var verifier note.Verifier
		if verifier, err = formats.NewVerifierForCosignatureV1(vkey); err != nil {
			verifier, err = formats.NewMLDSAVerifier(vkey)
		}
		check(err)
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(text, note.VerifierList(verifiers...))
	check(err)
	if len(opened.Sigs) != len(verifiers) {
		log.Fatalf("%d of %d keys have signed", len(opened.Sigs), len(verifiers))
	}
	names := []string{}
	for _, sig := range opened.Sigs {
		names = append(names, sig.Name)
	}
	fmt.Println(strings.Join(names, " "))
}

func cosign(text []byte, signer note.Signer) {
	body, _, found := strings.Cut(string(text), "\n\n")
	if !found {
		log.Fatal("no note")
	}
	signed, err := note.Sign(&note.Note{Text: body + "\n"}, signer)
	check(err)
	os.Stdout.Write(signed[len(body)+2:])
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
