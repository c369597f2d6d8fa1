"""shellcheck has nothing to say about our shell scripts, its `info` level included."""

import subprocess

import common

SHEBANGS = (b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash", b"# shellcheck shell=")


def is_script(path):
    with open(path, "rb") as file:
        return file.read(64).startswith(SHEBANGS)


def run(_):
    scripts = [path for path in common.tracked_files("") if path.endswith(".sh") or is_script(path)]
    result = subprocess.run(["shellcheck", "--external-sources", "--format=gcc", *scripts],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return result.stdout.splitlines()
