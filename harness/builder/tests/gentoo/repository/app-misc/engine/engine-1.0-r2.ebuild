# SPDX-License-Identifier: Apache-2.0
EAPI=8
DESCRIPTION="A test package"
HOMEPAGE="https://example.org/"
LICENSE="Apache-2.0"
KEYWORDS="amd64"
S="${WORKDIR}"
SLOT="0"
RDEPEND="sys-libs/base
	dev-libs/store:2=[fast]
	|| ( dev-libs/left dev-libs/right )
	!<dev-libs/store-1"

src_install() {
	echo engine >engine
	dobin engine
	dosym engine /usr/bin/engine-link
	insinto /etc
	newins engine engine.conf
	dodoc engine
}
