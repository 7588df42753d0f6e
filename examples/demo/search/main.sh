set -e
cd "$(mktemp -d)"
git init -q . && echo needle > hay.txt && git add hay.txt
git -c user.name=demo -c user.email=demo@localhost commit -qm "Hide a needle"
echo "$(git --version), found: $(rg --files-with-matches needle .)"
