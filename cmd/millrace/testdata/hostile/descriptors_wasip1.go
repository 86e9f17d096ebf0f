package main

func descriptors(func(string, int64)) {}
