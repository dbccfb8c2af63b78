# The packages. Included by the Makefile, whose VERSION and SOURCE_DATE_EPOCH they use. All is
# made in bin/package; what comes out of it depends on the source, the version and the
# versions of the tools named here, and on nothing else.

NFPM      ?= $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
GO_MD2MAN ?= $(GO) run github.com/cpuguy83/go-md2man/v2@v2.0.7

PACKAGE_VERSION := $(shell packaging/version '$(VERSION)')
PACKAGE_ARCH    := $(shell $(GO) env GOARCH)
PACKAGES        := bin/package
# As dpkg names the architecture, and as rpm does.
PACKAGE_DEB_ARCH := $(patsubst 386,i386,$(patsubst ppc64le,ppc64el,$(PACKAGE_ARCH)))
PACKAGE_RPM_ARCH := $(patsubst 386,i386,$(patsubst arm64,aarch64,$(patsubst amd64,x86_64,$(PACKAGE_ARCH))))
DEB := $(PACKAGES)/mtlsproxy_$(PACKAGE_VERSION)-1_$(PACKAGE_DEB_ARCH).deb
RPM := $(PACKAGES)/mtlsproxy-$(PACKAGE_VERSION)-1.$(PACKAGE_RPM_ARCH).rpm

.PHONY: package-programs deb rpm deb-source deb-build reproducible debian-copyright check-packaging

# Position-independent, as distributions ask for; without C, so that it runs beside any libc.
# -s drops the symbol table, not what stack traces need.
package-programs:
	@mkdir -p $(PACKAGES)/programs
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -buildmode=pie \
		-ldflags '-s -buildid= -X main.version=$(VERSION)' -o $(PACKAGES)/programs/ ./cmd/...

deb: package-programs ## build the Debian package in bin/package
	@rm -rf $(PACKAGES)/deb
	GO_MD2MAN='$(GO_MD2MAN)' packaging/stage deb $(PACKAGES)/programs $(PACKAGES)/deb $(PACKAGE_VERSION)
	@# Debian has the licence in a file, and knows no field for it.
	@sed '/^license:/d' nfpm.yaml >$(PACKAGES)/nfpm-deb.yaml
	PACKAGE_VERSION=$(PACKAGE_VERSION) PACKAGE_ARCH=$(PACKAGE_ARCH) $(NFPM) package --config $(PACKAGES)/nfpm-deb.yaml --packager deb --target $(DEB)

rpm: package-programs ## build the RPM package in bin/package
	@rm -rf $(PACKAGES)/rpm
	GO_MD2MAN='$(GO_MD2MAN)' packaging/stage rpm $(PACKAGES)/programs $(PACKAGES)/rpm $(PACKAGE_VERSION)
	PACKAGE_VERSION=$(PACKAGE_VERSION) PACKAGE_ARCH=$(PACKAGE_ARCH) $(NFPM) package --packager rpm --target $(RPM)

deb-source: ## build the Debian source package, with all modules in it
	GO='$(GO)' packaging/deb-source $(PACKAGES)/source $(PACKAGE_VERSION)

deb-build: deb-source ## build that source package, and compare its .deb with the other
	packaging/deb-build $(PACKAGES)/source $(PACKAGE_VERSION)

reproducible: ## build the packages twice, in two places, and compare the bytes
	GO='$(GO)' packaging/reproducible '$(VERSION)'

debian-copyright: ## write debian/copyright for the modules that are linked in now
	@GO='$(GO)' packaging/copyright >debian/copyright.new && mv debian/copyright.new debian/copyright

check-packaging: ## check units, scripts and debian/copyright
	packaging/check
