// Gets a certificate with the lego library and the provider of docs/clients.md:
// lego-client DIRECTORY FILE NAME...
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log"
	"os"

	"github.com/go-acme/lego/v4/certificate"
	"github.com/go-acme/lego/v4/lego"
	"github.com/go-acme/lego/v4/registration"
)

type account struct {
	key          crypto.PrivateKey
	registration *registration.Resource
}

func (a *account) GetEmail() string                        { return "admin@example.org" }
func (a *account) GetRegistration() *registration.Resource { return a.registration }
func (a *account) GetPrivateKey() crypto.PrivateKey        { return a.key }

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	directory, file, names := os.Args[1], os.Args[2], os.Args[3:]
	user := &account{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	config := lego.NewConfig(user)
	config.CADirURL = directory
	client := must(lego.NewClient(config))
	must(0, client.Challenge.SetTLSALPN01Provider(Spool{}))
	user.registration = must(client.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true}))
	issued := must(client.Certificate.Obtain(certificate.ObtainRequest{Domains: names}))
	must(0, os.WriteFile(file, issued.Certificate, 0o644))
}
