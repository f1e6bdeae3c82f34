# SPDX-License-Identifier: Apache-2.0
EAPI=8
DESCRIPTION="A test package"
HOMEPAGE="https://example.org/"
LICENSE="Apache-2.0"
KEYWORDS="amd64"
S="${WORKDIR}"
SLOT="${PV%%.*}/${PV}"
IUSE="fast"

src_install() {
	into /usr
	insinto /usr/lib64
	newins - libstore.so <<<"store ${PV}$(usev fast ' fast')"
}
