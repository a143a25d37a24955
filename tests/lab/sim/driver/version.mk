# the packages put their version here
NV_VERSION ?= 580.159.04
