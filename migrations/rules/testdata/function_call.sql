SELECT rebuild_everything();
